"""What is counted, held against what is there: they differ only where tables were changed by hand, or restored."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from actions_cache.domain.archive import Archive
from actions_cache.domain.usage import NO_USAGE, Usage, total
from actions_cache.ports import Repositories, Table

logger = logging.getLogger(__name__)


class OutOfTime(Exception):
    """Raised when there is no time to finish a count."""


@dataclass(frozen=True, slots=True)
class Count:
    counted: Usage
    stands: Usage

    @property
    def missing(self) -> Usage:
        return self.stands - self.counted


@dataclass(frozen=True, slots=True)
class ReconcileUsage:
    """Args: settle: waits for as long as the index of what is there lags behind writes."""

    table: Table
    repositories: Repositories
    settle: Callable[[], None]

    def __call__(self, repository_id: str, is_time_left: Callable[[], bool] = lambda: True) -> bool:
        """Correct the repository's usage, and the store's by as much.

        Returns:
            Whether it was wrong; False if there was no time to count.
        """
        try:
            count = self.wrong_count(repository_id, is_time_left)
        except OutOfTime:
            logger.info("no time left to count a repository", extra={"repository": repository_id})
            return False
        if count is not None:
            self.correct(repository_id, count)
        return count is not None

    def correct(self, repository_id: str, count: Count) -> None:
        self.repositories.correct_usage(repository_id, count.missing)
        _log(repository_id, count)

    def store(self) -> bool:
        """Corrects the store's usage, if it isn't that of its repositories together. Returns: whether it was wrong."""
        count = self._wrong(self._count_store)
        if count is not None:
            self.repositories.correct_store_usage(count.missing)
            _log("the store", count)
        return count is not None

    def wrong_count(self, repository_id: str, is_time_left: Callable[[], bool] = lambda: True) -> Count | None:
        """Return the wrong count; None if it is right, as far as can be told.

        Raises:
            OutOfTime: there was no time to count.
        """
        return self._wrong(lambda: self._count(repository_id, is_time_left))

    def _wrong(self, look: Callable[[], Count]) -> Count | None:
        """While jobs save and remove, the two are read at different times, and the index of what is there lags.

        So a difference counts only when nothing moved between two looks. The next run sees what was busy again.
        """
        first = look()
        if first.missing == NO_USAGE:
            return None
        self.settle()
        return first if look() == first else None

    def _count(self, repository_id: str, is_time_left: Callable[[], bool]) -> Count:
        counted = self.repositories.usage(repository_id)
        stored = _while_time_is_left(self.table.stored_archives(repository_id), is_time_left)
        stands = total(Usage(archive.size, 1) for archive in stored)
        return Count(counted, stands)

    def _count_store(self) -> Count:
        counted = self.repositories.store_usage()
        return Count(counted, total(map(self.repositories.usage, self.repositories.ids())))


def _while_time_is_left(archives: Iterable[Archive], is_time_left: Callable[[], bool]) -> Iterator[Archive]:
    """Yield archives while there is time.

    Raises:
        OutOfTime: there is none left.
    """
    for archive in archives:
        if not is_time_left():
            raise OutOfTime
        yield archive


def _log(whose: str, count: Count) -> None:
    fields = {"repository": whose, "counted": count.counted.bytes, "missing": count.missing.bytes}
    logger.warning("usage corrected", extra=fields)
