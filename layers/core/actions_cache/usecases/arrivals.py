"""What stands in the bucket, listed within bounds: whoever has an upload URL may put any number of objects there."""

from collections.abc import Iterator
from itertools import islice

from actions_cache.domain.archive import Part
from actions_cache.domain.commit import MAX_ARRIVALS
from actions_cache.domain.errors import TooLarge, TryAgain
from actions_cache.domain.timing import SECOND, Millis
from actions_cache.ports import Bucket, Clock

PAGE = 1000
"""S3 lists so many objects at once, and deletes so many."""

LISTING_TIME: Millis = 20 * SECOND
"""Of a request: API Gateway gives up at 29 s, and what was listed has to be written down yet."""


def pages(bucket: Bucket, prefix: str, after: str = "") -> Iterator[list[Part]]:
    """All objects of the prefix that come after this key; each page is asked for no sooner than it is wanted."""
    found = iter(bucket.list(prefix, after))
    while page := list(islice(found, PAGE)):
        yield page


def arrivals(bucket: Bucket, clock: Clock, prefix: str) -> Iterator[Part]:
    """What arrived under the prefix, as far as a request has time for it.

    Raises:
        TooLarge: more arrived than any client needs to send.
        TryAgain: the bucket is slow.
    """
    until = clock.now() + LISTING_TIME
    for number, part in enumerate(bucket.list(prefix)):
        if number == MAX_ARRIVALS:
            raise TooLarge(
                f"more than {MAX_ARRIVALS} parts arrived for this upload, sent again ones counted; "
                "reserve another key, and send fewer and larger parts"
            )
        if number % PAGE == 0 and clock.now() > until:
            raise TryAgain(f"the parts of this upload couldn't be listed within {LISTING_TIME // SECOND} s")
        yield part
