"""What a repository keeps, page by page."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import islice

from actions_cache.domain.archive import Archive
from actions_cache.domain.listing import MAX_PER_PAGE, EntryFilter, Order, Page, SortBy
from actions_cache.ports import Repositories, Table


@dataclass(frozen=True, slots=True)
class Listing:
    total: int
    """Of all pages."""
    archives: tuple[Archive, ...]
    """Of this page."""
    hits: Mapping[str, int] | None = None
    """By the archive's id, of the whole repository; None where the order needs none."""


@dataclass(frozen=True, slots=True)
class ListEntries:
    """By an index that may lag a moment behind saves and deletions."""

    table: Table
    repositories: Repositories
    threads: Executor

    def __call__(self, repository_id: str, wanted: EntryFilter, order: Order, page: Page) -> Listing:
        """All entries by their last use are read up to the page's end; any other question reads the repository."""
        if wanted.asks_nothing and order.by is SortBy.LAST_USED_AT:
            total = self.repositories.usage(repository_id).entries
            stored = self.table.stored_archives(repository_id, newest_use_first=order.is_descending)
            return Listing(total, tuple(islice(stored, page.start, page.end)))
        found = [it for it in self.table.stored_archives(repository_id) if wanted.matches(it)]
        hits = self._all_hits(repository_id) if order.by is SortBy.HITS else None
        ordered = order.of(found, hits or {})
        return Listing(len(found), tuple(ordered[page.start : page.end]), hits)

    def hits(self, repository_id: str, listing: Listing) -> Mapping[str, int]:
        """Of what is listed, by the archive's id."""
        return self.hits_of(repository_id, listing.archives) if listing.hits is None else listing.hits

    def hits_of(self, repository_id: str, archives: Sequence[Archive]) -> Mapping[str, int]:
        """Of these at least, by the archive's id: each by itself up to a page, since a repository may have far more."""
        if len(archives) > MAX_PER_PAGE:
            return self._all_hits(repository_id)
        ids = [it.id for it in archives]
        found = self.threads.map(lambda it: self.repositories.hits_of(repository_id, it).count, ids)
        return dict(zip(ids, found, strict=True))

    def _all_hits(self, repository_id: str) -> Mapping[str, int]:
        return {archive_id: hits.count for archive_id, hits in self.repositories.hits(repository_id).items()}
