"""Lists objects of an upload within bounds: anybody with an upload URL may put any number of them there."""

from collections.abc import Iterator
from itertools import islice

from actions_cache.domain.archive import Part
from actions_cache.domain.commit import MAX_ARRIVALS
from actions_cache.domain.errors import TooLarge, TryAgain
from actions_cache.domain.timing import SECOND, Millis
from actions_cache.ports import Bucket, Clock

PAGE = 1000
"""Number of objects in one of S3's lists, and in one deletion."""

LISTING_TIME: Millis = 20 * SECOND
"""Time that a request may spend listing: API Gateway gives up at 29 s, and the result must still be written."""


def pages(bucket: Bucket, prefix: str, after: str = "") -> Iterator[list[Part]]:
    """Yield pages of the prefix's objects after this key; each page is requested only when it is wanted."""
    found = iter(bucket.list(prefix, after))
    while page := list(islice(found, PAGE)):
        yield page


def arrivals(bucket: Bucket, clock: Clock, prefix: str) -> Iterator[Part]:
    """Yield the objects under the prefix, as far as a request has time for them.

    Raises:
        TooLarge: more arrived than any client needs to send.
        TryAgain: the bucket is slow.
    """
    until = clock.now() + LISTING_TIME
    for number, part in enumerate(bucket.list(prefix)):
        if number == MAX_ARRIVALS:
            raise TooLarge(
                f"more than {MAX_ARRIVALS} parts arrived for this upload, including those sent again; "
                "reserve another key, and send fewer and larger parts"
            )
        if number % PAGE == 0 and clock.now() > until:
            raise TryAgain(f"the parts of this upload couldn't be listed within {LISTING_TIME // SECOND} s")
        yield part
