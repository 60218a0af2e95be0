"""Reads as much of a sequence as an answer has time for."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from actions_cache.domain.timing import SECOND, Millis
from actions_cache.ports import Clock

READING_TIME: Millis = 12 * SECOND
"""Time that a request may spend reading: API Gateway gives up at 29 s, and the result must still be deleted, sorted or
shown. That is some 30,000 entries, at 0.4 ms each in a function with 1,024 MB: more than a repository's default budget
of entries."""

READ_AT_ONCE = 1000
"""Entries in a page where a repository is read whole; DynamoDB ends a page at 1 MB."""

LOOK_EVERY = 50

T = TypeVar("T")


@dataclass
class Reading(Generic[T]):
    """Reads until the time is up.

    Args:
        until: when to stop; None if there is time for everything.
    """

    of: Iterable[T]
    clock: Clock
    until: Millis | None
    is_whole: bool = True
    """True if nothing was left out; known once the reading has ended."""

    def __iter__(self) -> Iterator[T]:
        for number, each in enumerate(self.of):
            if self.until is not None and number % LOOK_EVERY == 0 and self.clock.now() > self.until:
                self.is_whole = False
                return
            yield each
