"""What repositories keep, beside what they may keep."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from actions_cache.domain.repository import Repository
from actions_cache.domain.timing import Millis
from actions_cache.domain.usage import Budgets, Usage
from actions_cache.ports import Repositories, Table


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


@dataclass(frozen=True, slots=True)
class ReadUsage:
    table: Table
    repositories: Repositories
    budgets: Budgets
    threads: Executor

    def __call__(self, repository: Repository) -> RepositoryUsage:
        newest = next(self.table.stored_archives(repository.id, newest_use_first=True, at_once=1), None)
        usage = self.repositories.usage(repository.id)
        return RepositoryUsage(repository, usage, newest.last_used_at if newest else None)

    def everywhere(self) -> Overview:
        each = [it for it in self.threads.map(self._known, self.repositories.ids()) if it is not None]
        return Overview(sorted(each, key=_largest_first), self.repositories.store_usage(), self.budgets)

    def _known(self, repository_id: str) -> RepositoryUsage | None:
        repository = self.repositories.repository(repository_id)
        return self(repository) if repository is not None else None


def _largest_first(of: RepositoryUsage) -> tuple[int, str]:
    return -of.usage.bytes, of.repository.id
