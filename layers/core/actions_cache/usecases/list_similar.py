"""For a job that missed: which entries that it could see have a key like the one it asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from actions_cache.domain.entry import Entry
from actions_cache.ports import Table

MOST_LISTED = 30
"""Each is a line of the job's log."""

MOST_READ = 1_000
"""Of the repository's archives, some 1 KB each: ten pages of the index, and as many turns of the way there."""


@dataclass(frozen=True, slots=True)
class ListSimilar:
    table: Table

    def __call__(self, repository: str, scopes: Sequence[str], prefix: str) -> tuple[Entry, ...]:
        """Of any version, those in these scopes whose key begins with the prefix; what was used last comes first.

        In a repository of more than MOST_READ entries those that were used long ago aren't found.
        """
        read = islice(self.table.stored_archives(repository, newest_use_first=True), MOST_READ)
        similar = (it.entry for it in read if it.name.family.scope in scopes and it.name.key.startswith(prefix))
        return tuple(islice(similar, MOST_LISTED))
