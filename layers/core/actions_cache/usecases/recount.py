"""What a repository's count says, held against its entries: both are written in one transaction, so they agree.

Unless one of them was restored from a backup, or changed by hand.
"""

from dataclasses import dataclass

from actions_cache.domain.usage import NO_USAGE, Usage, total
from actions_cache.ports import Repositories, Table


@dataclass(frozen=True, slots=True)
class Count:
    repository: str
    counted: Usage
    stored: Usage
    is_corrected: bool = False

    @property
    def drift(self) -> Usage:
        return self.stored - self.counted


@dataclass(frozen=True, slots=True)
class Recount:
    table: Table
    repositories: Repositories

    def __call__(self, repository_id: str, *, corrects: bool) -> Count:
        """Corrects by the difference, not to a number: what is saved at the same time counts.

        The list of what is stored lags behind the table, so a difference counts only if it is there twice, with nothing
        saved or removed in between. Who saves all the time is found right, and so stays as it is.
        """
        first, second = self._count(repository_id), self._count(repository_id)
        if first.drift == NO_USAGE or first != second:
            return Count(repository_id, second.counted, second.counted)
        if corrects:
            self.repositories.correct_usage(repository_id, by=first.drift)
        return Count(repository_id, first.counted, first.stored, is_corrected=corrects)

    def _count(self, repository_id: str) -> Count:
        counted = self.repositories.usage(repository_id)
        stored = total(Usage(archive.size, 1) for archive in self.table.stored_archives(repository_id))
        return Count(repository_id, counted, stored)
