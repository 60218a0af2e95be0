"""What is counted, held against what is there: they differ only where tables were changed by hand, or restored."""

import logging
from dataclasses import dataclass

from actions_cache.domain.usage import NO_USAGE, Usage, total
from actions_cache.ports import Repositories, Table

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReconcileUsage:
    table: Table
    repositories: Repositories

    def __call__(self, repository_id: str) -> Usage:
        """Corrects the repository's usage, and so the store's.

        While jobs save and remove, the two are read at different times, and the index of what is there lags: a
        difference counts only when nothing moved between two looks at both. The next run sees a busy repository again.

        Returns: by what the usage was corrected.
        """
        first, again = self._difference(repository_id), self._difference(repository_id)
        if first != again or first[1] == NO_USAGE:
            return NO_USAGE
        counted, missing = first
        self.repositories.correct_usage(repository_id, missing)
        logger.warning(
            "usage corrected",
            extra={"repository": repository_id, "counted": counted.bytes, "missing": missing.bytes},
        )
        return missing

    def _difference(self, repository_id: str) -> tuple[Usage, Usage]:
        """What is counted, and what is missing in it."""
        counted = self.repositories.usage(repository_id)
        stands = total(Usage(archive.size, 1) for archive in self.table.stored_archives(repository_id))
        return counted, stands - counted
