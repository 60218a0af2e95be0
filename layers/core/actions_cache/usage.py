"""Read and correct the counted usage of repositories, and estimate its cost."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import TypeVar

from actions_cache import events
from actions_cache.activity import SIDE_BY_SIDE, ReadActivity
from actions_cache.cost import Estimate, month_like
from actions_cache.domain.archive import Archive
from actions_cache.domain.budgets import (
    HOUR,
    NO_USAGE,
    Budgets,
    Repository,
    RepositoryUsage,
    Tally,
    Usage,
    has_owner,
    total,
)
from actions_cache.domain.errors import NotFound, TryAgain
from actions_cache.domain.listing import Page
from actions_cache.domain.timing import Millis
from actions_cache.ports import Clock, Repositories, Table, Telemetry, Unavailable

T = TypeVar("T")
ItemT = TypeVar("ItemT")

logger = logging.getLogger(__name__)

USUAL_HOURS = 7 * 24
"""Default number of hours that costs are estimated from. Whole weeks, since less is built at weekends; with more of
them a change shows later."""

INDEX_LAG_SECONDS = 2
"""Seconds that global indexes may lag behind their table; a second or so is usual. More: reconciling takes longer.
Fewer: a lag looks like a wrong count."""


READ_ANEW = 100
"""Repositories up to which a list reads the usage of each anew, in some 500 requests. More: lists take longer than a
second. Fewer: more servers list what was noted up to NOTED_FOR ago."""

NOTED_FOR: Millis = 6 * HOUR
"""Time after which cleanup notes a repository's usage anew, if there are more than READ_ANEW. Longer: lists are sorted
by older figures. Shorter: it costs more; a round of 10,000 takes 60,000 requests (docs/design/scale.md)."""


@dataclass(frozen=True, slots=True)
class Overview:
    """Shows the usage of all repositories.

    Args:
        repositories: the largest first.
        store: usage of all of them together.
        unread: number of further repositories that there was no time for.
    """

    repositories: Sequence[RepositoryUsage]
    store: Usage
    budgets: Budgets
    unread: int = 0


@dataclass(frozen=True, slots=True)
class OwnedPage:
    """Holds one page of an owner's repositories.

    Args:
        total: number of repositories on all pages.
        repositories: those of this page, by name.
    """

    total: int
    repositories: Sequence[tuple[Repository, Usage]]


@dataclass(frozen=True, slots=True)
class ReadUsage:
    """Reads the usage of one repository, of an owner's, or of all.

    Args:
        reading_time: time that reading may take; None for as much as it needs.
    """

    table: Table
    repositories: Repositories
    budgets: Budgets
    executor: Executor
    clock: Clock
    reading_time: Millis | None

    def __call__(self, repository: Repository) -> RepositoryUsage:
        newest = next(self.table.stored_archives(repository.id, newest_use_first=True, at_once=1), None)
        usage = self.repositories.usage(repository.id)
        return RepositoryUsage(repository, usage, newest.last_used_at if newest else None)

    def everywhere(self) -> Overview:
        """Return the usage of all repositories; of very many, as it was noted last."""
        until, noted = self._until(), self._noted()
        unknown = [repository_id for repository_id, usage in noted.items() if usage is None]
        read = [*self._in_time(self._known, unknown, until)]
        usages = sorted(filter(None, [*noted.values(), *read]), key=_largest_first)
        return Overview(usages, self.repositories.store_usage(), self.budgets, unread=len(unknown) - len(read))

    def of_owner(self, owner: str) -> Usage:
        """Return the usage of all repositories whose name begins with this owner; of very many, as it was noted last.

        Raises:
            NotFound: there are none.
            TryAgain: there are more repositories than there was time to read.
        """
        until = self._until()
        owned = self._owned(owner, until)
        known = [] if len(owned) <= READ_ANEW else [noted for _, noted in owned if noted is not None]
        noted_ids = {noted.repository.id for noted in known}
        ids = [repository.id for repository, _ in owned if repository.id not in noted_ids]
        return total([*(noted.usage for noted in known), *self._all_in_time(self.repositories.usage, ids, until)])

    def by_repository(self, owner: str, page: Page) -> OwnedPage:
        """Return a page of the repositories whose name begins with this owner, by name, which saves don't change.

        Raises:
            NotFound: there are none.
            TryAgain: there are more repositories than there was time to read.
        """
        owned = [repository for repository, _ in self._owned(owner, self._until())]
        shown = owned[page.start : page.end]
        usages = self.executor.map(self.repositories.usage, [repository.id for repository in shown])
        return OwnedPage(len(owned), [*zip(shown, usages, strict=True)])

    def _owned(self, owner: str, until: Millis | None) -> Sequence[tuple[Repository, RepositoryUsage | None]]:
        """Return the owner's repositories by name, each with its noted usage, if it has one."""
        noted = self._noted()
        unknown = [repository_id for repository_id, usage in noted.items() if usage is None]
        read = self._all_in_time(self.repositories.repository, unknown, until)
        known: list[tuple[Repository, RepositoryUsage | None]]
        known = [(usage.repository, usage) for usage in noted.values() if usage is not None]
        known += [(repository, None) for repository in read if repository is not None]
        owned = [pair for pair in known if has_owner(pair[0].name, owner)]
        if not owned:
            raise NotFound(f"no repository of {owner[:100]!r} has saved anything here")
        return sorted(owned, key=lambda pair: ((pair[0].name or "").lower(), pair[0].id))

    def _noted(self) -> Mapping[str, RepositoryUsage | None]:
        """Return the noted usage of each repository; None for what is read anew: of all if there are few, or time."""
        noted = self.repositories.noted_usages()
        if self.reading_time is None or len(noted) <= READ_ANEW:
            return dict.fromkeys(noted)
        return noted

    def _until(self) -> Millis | None:
        return None if self.reading_time is None else self.clock.now() + self.reading_time

    def _all_in_time(self, read: Callable[[ItemT], T], items: Sequence[ItemT], until: Millis | None) -> Sequence[T]:
        """Read each item.

        Raises:
            TryAgain: there was no time for all of them.
        """
        results = [*self._in_time(read, items, until)]
        if len(results) < len(items):
            raise TryAgain(
                "there are more repositories than can be read in time; `actions-cache usage` has no such limit"
            )
        return results

    def _in_time(self, read: Callable[[ItemT], T], items: Sequence[ItemT], until: Millis | None) -> Iterator[T]:
        """Read as many items as there is time for."""
        for start in range(0, len(items), SIDE_BY_SIDE):
            if until is not None and self.clock.now() >= until:
                return
            yield from self.executor.map(read, items[start : start + SIDE_BY_SIDE])

    def _known(self, repository_id: str) -> RepositoryUsage | None:
        repository = self.repositories.repository(repository_id)
        return self(repository) if repository is not None else None


@dataclass(frozen=True, slots=True)
class NoteUsages:
    """Notes what each repository keeps, so that lists of very many needn't read it.

    Args:
        read_usage: reads one repository's.
    """

    repositories: Repositories
    read_usage: ReadUsage
    executor: Executor
    clock: Clock

    def __call__(self, is_time_left: Callable[[], bool]) -> int:
        """Note what wasn't for NOTED_FOR, the oldest first, while there is time, and return how many were noted.

        Of few repositories nothing is noted.
        """
        noted = self.repositories.noted_usages()
        if len(noted) <= READ_ANEW:
            return 0
        ages = {repository_id: usage.noted_at if usage else 0 for repository_id, usage in noted.items()}
        until = self.clock.now() - NOTED_FOR
        due = sorted((at, repository_id) for repository_id, at in ages.items() if at <= until)
        done = 0
        for start in range(0, len(due), SIDE_BY_SIDE):
            if not is_time_left():
                break
            done += sum(self.executor.map(self._note, [each_id for _, each_id in due[start : start + SIDE_BY_SIDE]]))
        return done

    def _note(self, repository_id: str) -> bool:
        """Note one repository's usage, and return whether this was done; if it fails, the next run does it."""
        try:
            repository = self.repositories.repository(repository_id)
            if repository is None:
                return False
            self.repositories.note_usage(replace(self.read_usage(repository), noted_at=self.clock.now()))
        except Unavailable as error:
            logger.warning("a usage wasn't noted", extra={"repository": repository_id, "error": str(error)})
            return False
        return True


def _largest_first(usage: RepositoryUsage) -> tuple[int, str]:
    return -usage.usage.bytes, usage.repository.id


@dataclass(frozen=True, slots=True)
class Count:
    """Compares a counted usage with the entries that exist."""

    counted: Usage
    existing: Usage

    @property
    def missing(self) -> Usage:
        return self.existing - self.counted


class OutOfTime(Exception):
    """Raised when there is no time to finish a count."""


def wait_for_index() -> None:
    time.sleep(INDEX_LAG_SECONDS)


@dataclass(frozen=True, slots=True)
class ReconcileUsage:
    """Finds and corrects usage that was counted wrong.

    Args:
        settle: waits for as long as the index of stored archives may lag behind writes.
    """

    table: Table
    repositories: Repositories
    settle: Callable[[], None]

    def __call__(self, repository_id: str, is_time_left: Callable[[], bool] = lambda: True) -> bool:
        """Correct the repository's usage, and the store's by as much.

        Returns:
            True if it was wrong; False if it was right, or if there was no time to count.
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
        """Correct the store's usage if it isn't the sum of its repositories', and return whether it was wrong."""
        count = self._wrong(self._count_store)
        if count is not None:
            self.repositories.correct_store_usage(count.missing)
            _log("the store", count)
        return count is not None

    def wrong_count(self, repository_id: str, is_time_left: Callable[[], bool] = lambda: True) -> Count | None:
        """Return the wrong count; None if it is right, as far as this can be known.

        Raises:
            OutOfTime: there was no time to count.
        """
        return self._wrong(lambda: self._count(repository_id, is_time_left))

    def _wrong(self, look: Callable[[], Count]) -> Count | None:
        """Return the count if it is wrong, and the same when looked at again; else None.

        While jobs save and remove entries, the counted and the stored are read at different times, and the index of the
        stored lags. So a difference counts only if nothing changed between the two looks. The next run looks at busy
        repositories again.
        """
        first = look()
        if first.missing == NO_USAGE:
            return None
        self.settle()
        return first if look() == first else None

    def _count(self, repository_id: str, is_time_left: Callable[[], bool]) -> Count:
        counted = self.repositories.usage(repository_id)
        stored = _while_time_is_left(self.table.stored_archives(repository_id), is_time_left)
        existing = total(map(Usage.of, stored))
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
    """Holds the cost of a month that goes on like the last hours.

    Args:
        stored: usage of the whole store.
        done: what jobs did in the last hours.
    """

    stored: Usage
    done: Tally
    hours: int
    month: Estimate


@dataclass(frozen=True, slots=True)
class EstimateCost:
    repositories: Repositories
    read_activity: ReadActivity

    def __call__(self, hours: int) -> CostOfNow:
        """Estimate the cost of a month that goes on like the last hours.

        Raises:
            TryAgain: there are more repositories than there was time to add up.
        """
        stored = self.repositories.store_usage()
        done = sum(self.read_activity(None, hours).values(), Tally())
        return CostOfNow(stored, done, hours, month_like(stored, done, hours))


@dataclass(frozen=True, slots=True)
class PublishCost:
    estimate_cost: EstimateCost
    telemetry: Telemetry

    def __call__(self) -> None:
        """Emit the month's cost, or nothing if there are more repositories than there is time for.

        The schedule's other tasks come first.
        """
        try:
            cost = self.estimate_cost(USUAL_HOURS)
        except TryAgain as error:
            logger.warning("the month's cost wasn't recorded", extra={"error": str(error)})
            return
        for event in events.cost_estimated(cost.stored, cost.done, cost.hours, cost.month):
            self.telemetry.emit(event)
