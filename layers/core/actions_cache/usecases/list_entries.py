"""What a repository keeps, page by page."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from actions_cache.domain.archive import Archive
from actions_cache.domain.listing import EntryFilter, Order, Page, SortBy
from actions_cache.ports import Repositories, Table


@dataclass(frozen=True, slots=True)
class Listing:
    total: int
    """Of all pages."""
    archives: tuple[Archive, ...]
    """Of this page."""


@dataclass(frozen=True, slots=True)
class ListEntries:
    """By an index that may lag a moment behind saves and deletions."""

    table: Table
    repositories: Repositories

    def __call__(self, repository_id: str, wanted: EntryFilter, order: Order, page: Page) -> Listing:
        """All entries by their last use are read up to the page's end; any other question reads the repository."""
        if wanted.asks_nothing and order.by is SortBy.LAST_USED_AT:
            total = self.repositories.usage(repository_id).entries
            stored = self.table.stored_archives(repository_id, newest_use_first=order.is_descending)
            return Listing(total, tuple(islice(stored, page.start, page.end)))
        found = [it for it in self.table.stored_archives(repository_id) if wanted.matches(it)]
        ordered = order.of(found, self.hits(repository_id) if order.by is SortBy.HITS else {})
        return Listing(len(found), tuple(ordered[page.start : page.end]))

    def hits(self, repository_id: str) -> Mapping[str, int]:
        """By the archive's id."""
        return {archive_id: hits.count for archive_id, hits in self.repositories.hits(repository_id).items()}
