"""What people do with entries: list, find and delete them, and see which merges failed."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

from actions_cache.archives import READ_AT_ONCE, Reading, RemoveEntry
from actions_cache.domain.archive import Archive, MergeState
from actions_cache.domain.budgets import Repository, is_name, may_be_id, same_name
from actions_cache.domain.entry import numbered_archive_id
from actions_cache.domain.errors import InvalidRequest, NotFound, TryAgain
from actions_cache.domain.listing import MAX_PER_PAGE, EntryFilter, Order, Page, SortBy
from actions_cache.domain.timing import Lifetimes, Millis
from actions_cache.ports import Clock, DeadLetters, Repositories, Table

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FindRepository:
    repositories: Repositories

    def __call__(self, named: str) -> Repository:
        """Args: named: by its name, or its id.

        Raises:
            NotFound: nobody has saved here under it.
            InvalidRequest: several issuers have a repository of this name.
        """
        return self._by_name(named) if is_name(named) else self._by_id(named)

    def _by_id(self, repository_id: str) -> Repository:
        found = self.repositories.repository(repository_id) if may_be_id(repository_id) else None
        if found is None:
            raise NotFound(f"no repository {repository_id[:100]!r} has saved anything here")
        return found

    def _by_name(self, name: str) -> Repository:
        """The one that has the name now; without one, the one that had it before it was renamed."""
        known = [it for it in map(self.repositories.repository, self.repositories.ids_named(name)) if it is not None]
        meant = [it for it in known if same_name(it.name, name)] or known
        if not meant:
            raise NotFound(f"no repository {name} has saved anything here")
        if len(meant) > 1:
            ids = ", ".join(it.id for it in meant)
            raise InvalidRequest(f"several repositories are called {name}: {ids}; name the one you mean by its id")
        return meant[0]


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
    executor: Executor
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
        found = self.executor.map(lambda it: self.repositories.hits_of(repository_id, it).count, ids)
        return dict(zip(ids, found, strict=True))

    def _all_hits(self, repository_id: str) -> Mapping[str, int]:
        """Return the hits of as many entries as there is time for; the others show none."""
        return {archive_id: hits.count for archive_id, hits in self._reading(self.repositories.hits(repository_id))}


AT_ONCE = 500
"""Of some 30 ms each, SIDE_BY_SIDE. Many more, and API Gateway gives up on the answer, at 29 s."""

SIDE_BY_SIDE = 8
ROUNDS = 3
"""A deletion loses to whoever writes the archive at that moment, a merge say, and is tried again."""


@dataclass(frozen=True, slots=True)
class Deletion:
    archives: tuple[Archive, ...]
    """Whose entries are deleted, or would be."""
    remaining: int
    """Least number of further entries that the filter matches, for another call."""
    is_whole: bool = True
    """False if there was no time to look at all entries: the filter may match others that were used more recently."""


@dataclass(frozen=True, slots=True)
class DeleteEntries:
    table: Table
    remove_entry: RemoveEntry
    lifetimes: Lifetimes
    clock: Clock
    reading_time: Millis | None
    """Time that reading may take; None for as much as it needs."""

    def __call__(self, repository_id: str, wanted: EntryFilter, *, dry_run: bool = False) -> Deletion:
        """At most AT_ONCE, those unused the longest first. What no longer matches by then stays.

        Raises: InvalidRequest for a filter that names everything.
        """
        if wanted.asks_nothing:
            raise InvalidRequest("nothing says which entries are to go: give at least one filter, and not an empty one")
        wanted = self._strictly(wanted)
        reading = self._reading(self.table.stored_archives(repository_id, at_once=READ_AT_ONCE))
        found = [it for it in reading if wanted.matches(it)]
        chosen = found[:AT_ONCE]
        removed = chosen if dry_run else self._remove(repository_id, wanted, chosen)
        return Deletion(tuple(removed), len(found) - len(chosen), reading.is_whole)

    def numbered(self, repository_id: str, number: int, *, dry_run: bool = False) -> Deletion:
        """Delete the entry that clients know by this number (Entry.id).

        Raises:
            TryAgain: there was no time to look at all entries.
        """
        archive = self._numbered(repository_id, number)
        if archive is None:
            return Deletion((), 0)
        return Deletion(
            tuple([archive] if dry_run else self._remove(repository_id, EntryFilter(), [archive])), remaining=0
        )

    def _numbered(self, repository_id: str, number: int) -> Archive | None:
        """Of the v1 API's uploads the archive's id follows from the number; others are looked for in the repository."""
        archive = self.table.archive(numbered_archive_id(number))
        if archive is not None and archive.is_stored and archive.name.family.repository == repository_id:
            return archive
        stored = self.table.stored_archives(repository_id, newest_use_first=True, at_once=READ_AT_ONCE)
        reading = self._reading(stored)
        found = next((it for it in reading if it.entry.id == number), None)
        if found is None and not reading.is_whole:
            raise TryAgain(
                "this repository has more entries than can be looked at in time; delete the entry by its key, or by "
                "the command line, which has no such limit"
            )
        return found

    def _reading(self, of: Iterable[Archive]) -> Reading[Archive]:
        return Reading(of, self.clock, None if self.reading_time is None else self.clock.now() + self.reading_time)

    def _strictly(self, wanted: EntryFilter) -> EntryFilter:
        """A use may be noted earlier than it was, by as much as uses go unnoted."""
        if wanted.unused_since is None:
            return wanted
        return replace(wanted, unused_since=wanted.unused_since - self.lifetimes.last_use_resolution)

    def _remove(self, repository_id: str, wanted: EntryFilter, chosen: Sequence[Archive]) -> list[Archive]:
        """Returns: which of them this call has removed."""

        def is_wanted(current: Archive) -> bool:
            return current.is_stored and current.name.family.repository == repository_id and wanted.matches(current)

        def remove(archive: Archive) -> bool:
            for _ in range(ROUNDS):
                if self.remove_entry(archive.id, is_wanted):
                    return True
                current = self.table.archive(archive.id)
                if current is None or not is_wanted(current):
                    return False
            return False

        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            return [archive for archive, is_gone in zip(chosen, pool.map(remove, chosen), strict=True) if is_gone]


MOST = 100


@dataclass(frozen=True, slots=True)
class Failures:
    archives: tuple[Archive, ...]
    """Whose merge failed, the latest first: they restore from their parts."""
    dead_letters: int
    """Messages of failed merges, and those that were no messages of ours; about so many, as SQS counts."""


@dataclass(frozen=True, slots=True)
class ListFailures:
    table: Table
    dead_letters: DeadLetters

    def __call__(self) -> Failures:
        """At most MOST archives. The index may lag, so each is read again."""
        read = map(self.table.archive, islice(self.table.failed_archives(), MOST))
        failed = [it for it in read if it is not None and it.is_stored and it.merge.state is MergeState.FAILED]
        failed.sort(key=lambda it: it.merge.ended_at, reverse=True)
        return Failures(tuple(failed), self.dead_letters.count())
