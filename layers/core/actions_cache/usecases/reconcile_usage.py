"""What is counted, held against what is there: they differ only where tables were changed by hand, or restored."""

import logging
from dataclasses import dataclass

from actions_cache.domain.usage import NO_USAGE, Usage, total
from actions_cache.ports import Repositories, Table

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Count:
    counted: Usage
    stands: Usage

    @property
    def missing(self) -> Usage:
        return self.stands - self.counted


@dataclass(frozen=True, slots=True)
class ReconcileUsage:
    table: Table
    repositories: Repositories

    def __call__(self, repository_id: str) -> Usage:
        """Corrects the repository's usage, and so the store's.

        Returns: by what the usage was corrected.
        """
        count = self.wrong_count(repository_id)
        if count is None:
            return NO_USAGE
        self.repositories.correct_usage(repository_id, count.missing)
        logger.warning(
            "usage corrected",
            extra={"repository": repository_id, "counted": count.counted.bytes, "missing": count.missing.bytes},
        )
        return count.missing

    def wrong_count(self, repository_id: str) -> Count | None:
        """None where it is right, as far as can be told.

        While jobs save and remove, the two are read at different times, and the index of what is there lags: a
        difference counts only when nothing moved between two looks at both. The next run sees a busy repository again.
        """
        first, again = self._count(repository_id), self._count(repository_id)
        return None if first != again or first.missing == NO_USAGE else first

    def _count(self, repository_id: str) -> Count:
        counted = self.repositories.usage(repository_id)
        stands = total(Usage(archive.size, 1) for archive in self.table.stored_archives(repository_id))
        return Count(counted, stands)
