"""Find repositories, list and delete their entries, and list failed merges, for the people who manage a server."""

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

AT_ONCE = 500
"""Maximum number of entries that one call deletes. One takes some 30 ms, and SIDE_BY_SIDE are deleted at a time. Many
more, and API Gateway gives up on the answer, at 29 s; fewer, and a large deletion takes more calls."""

SIDE_BY_SIDE = 8
"""Number of threads that delete. More put a higher load on the table; fewer take longer."""

ROUNDS = 3
"""Number of attempts at one deletion, which fails if another process writes the archive at that moment, a merge say."""

MOST = 100
"""Maximum number of failed merges that are listed; each is another read."""


@dataclass(frozen=True, slots=True)
class FindRepository:
    repositories: Repositories

    def __call__(self, name_or_id: str) -> Repository:
        """Return the repository that has this name or id.

        Raises:
            NotFound: no such repository has saved anything here.
            InvalidRequest: several issuers have a repository of this name.
        """
        return self._by_name(name_or_id) if is_name(name_or_id) else self._by_id(name_or_id)

    def _by_id(self, repository_id: str) -> Repository:
        found = self.repositories.repository(repository_id) if may_be_id(repository_id) else None
        if found is None:
            raise NotFound(f"no repository {repository_id[:100]!r} has saved anything here")
        return found

    def _by_name(self, name: str) -> Repository:
        """Return the repository that has the name now, or else the one that had it before it was renamed."""
        found = map(self.repositories.repository, self.repositories.ids_named(name))
        known = [repository for repository in found if repository is not None]
        candidates = [repository for repository in known if same_name(repository.name, name)] or known
        if not candidates:
            raise NotFound(f"no repository {name} has saved anything here")
        if len(candidates) > 1:
            ids = ", ".join(repository.id for repository in candidates)
            raise InvalidRequest(f"several repositories are called {name}: {ids}; name the one you mean by its id")
        return candidates[0]


@dataclass(frozen=True, slots=True)
class Listing:
    """Holds one page of a repository's entries.

    Args:
        total: number of entries on all pages.
        archives: those of this page.
        hits: hits of all the repository's entries by the archive's id; None if the order doesn't need them.
        is_whole: false if there was no time for the entries unused the longest: they are neither listed nor counted.
    """

    total: int
    archives: tuple[Archive, ...]
    hits: Mapping[str, int] | None = None
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class ListEntries:
    """Lists a repository's entries, from an index that may lag a moment behind saves and deletions.

    Args:
        reading_time: time that reading may take; None for as much as it needs.
    """

    table: Table
    repositories: Repositories
    executor: Executor
    clock: Clock
    reading_time: Millis | None

    def __call__(self, repository_id: str, entry_filter: EntryFilter, order: Order, page: Page) -> Listing:
        """Return a page of the entries that match.

        All entries in the order of their last use are read up to the page's end; any other question takes a read of the
        whole repository.
        """
        if entry_filter.asks_nothing and order.by is SortBy.LAST_USED_AT:
            total = self.repositories.usage(repository_id).entries
            at_once = READ_AT_ONCE if page.start >= READ_AT_ONCE else None
            stored = self.table.stored_archives(repository_id, newest_use_first=order.is_descending, at_once=at_once)
            reading = _read(stored, self.clock, self.reading_time)
            return Listing(total, tuple(islice(reading, page.start, page.end)), is_whole=reading.is_whole)
        stored = self.table.stored_archives(repository_id, newest_use_first=True, at_once=READ_AT_ONCE)
        reading = _read(stored, self.clock, self.reading_time)
        found = [archive for archive in reading if entry_filter.matches(archive)]
        hits = self._all_hits(repository_id) if order.by is SortBy.HITS else None
        ordered = order.sort(found, hits or {})
        return Listing(len(found), tuple(ordered[page.start : page.end]), hits, reading.is_whole)

    def hits(self, repository_id: str, listing: Listing) -> Mapping[str, int]:
        """Return at least the listed entries' hits, by the archive's id."""
        return self.hits_of(repository_id, listing.archives) if listing.hits is None else listing.hits

    def hits_of(self, repository_id: str, archives: Sequence[Archive]) -> Mapping[str, int]:
        """Return at least these archives' hits, by the archive's id.

        Up to a page of archives are read one by one, since the repository may have far more.
        """
        if len(archives) > MAX_PER_PAGE:
            return self._all_hits(repository_id)
        ids = [archive.id for archive in archives]
        counts = self.executor.map(lambda archive_id: self.repositories.hits_of(repository_id, archive_id).count, ids)
        return dict(zip(ids, counts, strict=True))

    def _all_hits(self, repository_id: str) -> Mapping[str, int]:
        """Return the hits of as many entries as there is time for; the others are missing."""
        reading = _read(self.repositories.hits(repository_id), self.clock, self.reading_time)
        return {archive_id: hits.count for archive_id, hits in reading}


@dataclass(frozen=True, slots=True)
class Deletion:
    """Says what a call deleted, and what it left.

    Args:
        archives: those whose entries are deleted; in a dry run, would be.
        remaining: least number of further entries that the filter matches, for another call.
        is_whole: false if there was no time to look at all entries: the filter may match more recently used ones too.
    """

    archives: tuple[Archive, ...]
    remaining: int
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class DeleteEntries:
    """Deletes a repository's entries.

    Args:
        reading_time: time that reading may take; None for as much as it needs.
    """

    table: Table
    remove_entry: RemoveEntry
    lifetimes: Lifetimes
    clock: Clock
    reading_time: Millis | None

    def __call__(self, repository_id: str, entry_filter: EntryFilter, *, dry_run: bool = False) -> Deletion:
        """Delete at most AT_ONCE entries that match, those unused the longest first.

        An entry that doesn't match any more at the moment of its deletion stays.

        Raises:
            InvalidRequest: the filter would match every entry.
        """
        if entry_filter.asks_nothing:
            raise InvalidRequest("nothing says which entries are to go: give at least one filter, and not an empty one")
        entry_filter = self._with_unnoted_uses(entry_filter)
        stored = self.table.stored_archives(repository_id, at_once=READ_AT_ONCE)
        reading = _read(stored, self.clock, self.reading_time)
        found = [archive for archive in reading if entry_filter.matches(archive)]
        chosen = found[:AT_ONCE]
        removed = chosen if dry_run else self._remove(repository_id, entry_filter, chosen)
        return Deletion(tuple(removed), len(found) - len(chosen), reading.is_whole)

    def numbered(self, repository_id: str, number: int, *, dry_run: bool = False) -> Deletion:
        """Delete the entry that clients know by this number (Entry.id).

        Raises:
            TryAgain: there was no time to look at all entries.
        """
        archive = self._numbered(repository_id, number)
        if archive is None:
            return Deletion((), remaining=0)
        removed = [archive] if dry_run else self._remove(repository_id, EntryFilter(), [archive])
        return Deletion(tuple(removed), remaining=0)

    def _numbered(self, repository_id: str, number: int) -> Archive | None:
        """Return the archive with this number, or None.

        The ids of v1's archives follow from their numbers; other archives are searched for in the whole repository.
        """
        archive = self.table.archive(numbered_archive_id(number))
        if archive is not None and archive.is_stored and archive.name.family.repository == repository_id:
            return archive
        stored = self.table.stored_archives(repository_id, newest_use_first=True, at_once=READ_AT_ONCE)
        reading = _read(stored, self.clock, self.reading_time)
        found = next((archive for archive in reading if archive.entry.id == number), None)
        if found is None and not reading.is_whole:
            raise TryAgain(
                "this repository has more entries than can be looked at in time; delete the entry by its key, or by "
                "the command line, which has no such limit"
            )
        return found

    def _with_unnoted_uses(self, entry_filter: EntryFilter) -> EntryFilter:
        """Return a stricter filter, for which an entry counts as used as late as it may have been.

        A use soon after a noted one isn't noted itself, for as long as `last_use_resolution`.
        """
        if entry_filter.unused_since is None:
            return entry_filter
        return replace(entry_filter, unused_since=entry_filter.unused_since - self.lifetimes.last_use_resolution)

    def _remove(self, repository_id: str, entry_filter: EntryFilter, chosen: Sequence[Archive]) -> list[Archive]:
        """Remove the entries of the chosen archives, and return the archives whose entry this call has removed."""

        def matches(current: Archive) -> bool:
            is_here = current.is_stored and current.name.family.repository == repository_id
            return is_here and entry_filter.matches(current)

        def remove(archive: Archive) -> bool:
            for _ in range(ROUNDS):
                if self.remove_entry(archive.id, matches):
                    return True
                current = self.table.archive(archive.id)
                if current is None or not matches(current):
                    return False
            return False

        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            return [archive for archive, is_removed in zip(chosen, pool.map(remove, chosen), strict=True) if is_removed]


def _read(items: Iterable[T], clock: Clock, reading_time: Millis | None) -> Reading[T]:
    return Reading(items, clock, None if reading_time is None else clock.now() + reading_time)


@dataclass(frozen=True, slots=True)
class Failures:
    """Holds the merges that failed.

    Args:
        archives: those whose merge was given up, the latest first; they restore from their parts.
        dead_letters: approximate number of dead letters: messages of failed merges, and any that aren't ours.
    """

    archives: tuple[Archive, ...]
    dead_letters: int


@dataclass(frozen=True, slots=True)
class ListFailures:
    table: Table
    dead_letters: DeadLetters

    def __call__(self) -> Failures:
        """Return at most MOST failed merges. Each archive is read again, since the index may lag."""
        current = map(self.table.archive, islice(self.table.failed_archives(), MOST))
        failed = [
            archive
            for archive in current
            if archive is not None and archive.is_stored and archive.merge.state is MergeState.FAILED
        ]
        failed.sort(key=lambda archive: archive.merge.ended_at, reverse=True)
        return Failures(tuple(failed), self.dead_letters.count())
