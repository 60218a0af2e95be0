"""What repositories keep, beside what they may keep."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from actions_cache.domain.repository import Repository
from actions_cache.domain.timing import Millis
from actions_cache.domain.usage import Budgets, Usage
from actions_cache.ports import Clock, Repositories, Table

SIDE_BY_SIDE = 100
"""Repositories between two looks at the clock."""


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
    threads: Executor
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
            each += filter(None, self.threads.map(self._known, batch))
            read += len(batch)
        unread = len(ids) - read
        return Overview(sorted(each, key=_largest_first), self.repositories.store_usage(), self.budgets, unread)

    def _known(self, repository_id: str) -> RepositoryUsage | None:
        repository = self.repositories.repository(repository_id)
        return self(repository) if repository is not None else None


def _largest_first(of: RepositoryUsage) -> tuple[int, str]:
    return -of.usage.bytes, of.repository.id
