"""What a repository keeps, page by page."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from actions_cache.domain.archive import Archive
from actions_cache.domain.listing import MAX_PER_PAGE, EntryFilter, Order, Page, SortBy
from actions_cache.domain.timing import Millis
from actions_cache.ports import Clock, Repositories, Table
from actions_cache.usecases.reading import READ_AT_ONCE, Reading

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Listing:
    total: int
    """Of all pages."""
    archives: tuple[Archive, ...]
    """Of this page."""
    hits: Mapping[str, int] | None = None
    """By the archive's id, of the whole repository; None where the order needs none."""
    is_whole: bool = True
    """False if there was no time for those unused the longest: they are neither listed nor counted."""


@dataclass(frozen=True, slots=True)
class ListEntries:
    """By an index that may lag a moment behind saves and deletions."""

    table: Table
    repositories: Repositories
    threads: Executor
    clock: Clock
    reading_time: Millis | None
    """Time that reading may take; None for as much as it needs."""

    def __call__(self, repository_id: str, wanted: EntryFilter, order: Order, page: Page) -> Listing:
        """All entries by their last use are read up to the page's end; any other question reads the repository."""
        if wanted.asks_nothing and order.by is SortBy.LAST_USED_AT:
            total = self.repositories.usage(repository_id).entries
            at_once = READ_AT_ONCE if page.start >= READ_AT_ONCE else None
            stored = self.table.stored_archives(repository_id, newest_use_first=order.is_descending, at_once=at_once)
            shown = self._reading(stored)
            return Listing(total, tuple(islice(shown, page.start, page.end)), is_whole=shown.is_whole)
        stored = self.table.stored_archives(repository_id, newest_use_first=True, at_once=READ_AT_ONCE)
        reading = self._reading(stored)
        found = [it for it in reading if wanted.matches(it)]
        hits = self._all_hits(repository_id) if order.by is SortBy.HITS else None
        ordered = order.of(found, hits or {})
        return Listing(len(found), tuple(ordered[page.start : page.end]), hits, reading.is_whole)

    def _reading(self, of: Iterable[T]) -> Reading[T]:
        return Reading(of, self.clock, None if self.reading_time is None else self.clock.now() + self.reading_time)

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
        """Return the hits of as many entries as there is time for; the others show none."""
        return {archive_id: hits.count for archive_id, hits in self._reading(self.repositories.hits(repository_id))}
