"""What repositories keep, beside what they may keep."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from actions_cache import events
from actions_cache.activity import SIDE_BY_SIDE, ReadActivity
from actions_cache.cost import Estimate, month_like
from actions_cache.domain.archive import Archive
from actions_cache.domain.budgets import NO_USAGE, Budgets, Repository, Tally, Usage, total
from actions_cache.domain.errors import TryAgain
from actions_cache.domain.timing import Millis
from actions_cache.ports import Clock, Repositories, Table, Telemetry

logger = logging.getLogger(__name__)


USUAL_HOURS = 7 * 24
"""Whole weeks: at weekends less is built. More of them: a change shows later."""

INDEX_LAG_SECONDS = 2
"""Seconds by which global indexes may lag behind their table; a second or so is usual."""


@dataclass(frozen=True, slots=True)
class RepositoryUsage:
    repository: Repository
    usage: Usage
    last_used_at: Millis | None
    """Of its last save or restore; None where it keeps nothing."""


@dataclass(frozen=True, slots=True)
class Overview:
    repositories: Sequence[RepositoryUsage]
    """The largest first."""
    store: Usage
    budgets: Budgets
    unread: int = 0
    """Number of further repositories that there was no time for."""


@dataclass(frozen=True, slots=True)
class ReadUsage:
    table: Table
    repositories: Repositories
    budgets: Budgets
    executor: Executor
    clock: Clock
    reading_time: Millis | None
    """Time that reading may take; None for as much as it needs."""

    def __call__(self, repository: Repository) -> RepositoryUsage:
        newest = next(self.table.stored_archives(repository.id, newest_use_first=True, at_once=1), None)
        usage = self.repositories.usage(repository.id)
        return RepositoryUsage(repository, usage, newest.last_used_at if newest else None)

    def everywhere(self) -> Overview:
        until = None if self.reading_time is None else self.clock.now() + self.reading_time
        ids, read = self.repositories.ids(), 0
        each: list[RepositoryUsage] = []
        while read < len(ids) and (until is None or self.clock.now() < until):
            batch = ids[read : read + SIDE_BY_SIDE]
            each += filter(None, self.executor.map(self._known, batch))
            read += len(batch)
        unread = len(ids) - read
        return Overview(sorted(each, key=_largest_first), self.repositories.store_usage(), self.budgets, unread)

    def _known(self, repository_id: str) -> RepositoryUsage | None:
        repository = self.repositories.repository(repository_id)
        return self(repository) if repository is not None else None


def _largest_first(of: RepositoryUsage) -> tuple[int, str]:
    return -of.usage.bytes, of.repository.id


def wait_for_index() -> None:
    time.sleep(INDEX_LAG_SECONDS)


class OutOfTime(Exception):
    """Raised when there is no time to finish a count."""


@dataclass(frozen=True, slots=True)
class Count:
    counted: Usage
    existing: Usage

    @property
    def missing(self) -> Usage:
        return self.existing - self.counted


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
        existing = total(Usage(archive.size, 1) for archive in stored)
        return Count(counted, existing)

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


@dataclass(frozen=True, slots=True)
class CostOfNow:
    stored: Usage
    done: Tally
    """In these hours."""
    hours: int
    month: Estimate


@dataclass(frozen=True, slots=True)
class EstimateCost:
    repositories: Repositories
    read_activity: ReadActivity

    def __call__(self, hours: int) -> CostOfNow:
        """Args: hours: that the month is taken to go on like."""
        stored = self.repositories.store_usage()
        done = sum(self.read_activity(None, hours).values(), Tally())
        return CostOfNow(stored, done, hours, month_like(stored, done, hours))


@dataclass(frozen=True, slots=True)
class PublishCost:
    estimate_cost: EstimateCost
    telemetry: Telemetry

    def __call__(self) -> None:
        """Record the cost; with more repositories than there is time for, do nothing.

        The schedule's other work comes first.
        """
        try:
            now = self.estimate_cost(USUAL_HOURS)
        except TryAgain as error:
            logger.warning("the month's cost wasn't recorded", extra={"error": str(error)})
            return
        for event in events.cost_estimated(now.stored, now.done, now.hours, now.month):
            self.telemetry.emit(event)
