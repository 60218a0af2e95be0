"""As much of what is read one after the other as an answer has time for."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from actions_cache.domain.timing import SECOND, Millis
from actions_cache.ports import Clock

READING_TIME: Millis = 12 * SECOND
"""Of a request: API Gateway gives up at 29 s, and what was read has to be deleted, sorted or shown yet. Some 30,000
entries are read in it, at 0.4 ms of a function with 1,024 MB: more than a repository's default budget of entries."""

READ_AT_ONCE = 1000
"""Entries in a page where a repository is read whole; DynamoDB ends a page at 1 MB."""

LOOK_EVERY = 50

T = TypeVar("T")


@dataclass
class Reading(Generic[T]):
    """Args: until: None where there is time for everything."""

    of: Iterable[T]
    clock: Clock
    until: Millis | None
    is_whole: bool = True
    """Nothing was left out; known once it has ended."""

    def __iter__(self) -> Iterator[T]:
        for number, each in enumerate(self.of):
            if self.until is not None and number % LOOK_EVERY == 0 and self.clock.now() > self.until:
                self.is_whole = False
                return
            yield each
