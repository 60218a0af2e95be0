"""Find repositories, list and delete their entries, and list failed merges, for the people who manage a server."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

from actions_cache.archives import READ_AT_ONCE, Reading, RemoveEntry
from actions_cache.domain.archive import Archive, MergeState
from actions_cache.domain.budgets import Repository, is_name, may_be_id, same_name
from actions_cache.domain.entry import numbered_archive_id
from actions_cache.domain.errors import InvalidRequest, NotFound, TryAgain
from actions_cache.domain.listing import EntryFilter, Order, Page, SortBy, Summary
from actions_cache.domain.timing import SECOND, Lifetimes, Millis
from actions_cache.ports import Clock, DeadLetters, Repositories, Table

T = TypeVar("T")

AT_ONCE = 500
"""Maximum number of entries that one call deletes. One takes some 30 ms, and SIDE_BY_SIDE are deleted at a time. Many
more, and API Gateway gives up on the answer, at 29 s; fewer, and a large deletion takes more calls."""

DELETING_TIME: Millis = 8 * SECOND
"""Time after which a request begins no more deletions, should the table be slow. More, and API Gateway may give up on
the answer, since READING_TIME comes before; fewer, and a large deletion takes more calls."""

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
        lifetimes: durations from the settings.
        reading_time: time that reading may take; None for as much as it needs.
    """

    table: Table
    repositories: Repositories
    executor: Executor
    lifetimes: Lifetimes
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
        entry_filter = _with_unnoted_uses(entry_filter, self.lifetimes)
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

        Those of up to AT_ONCE archives are read one by one, since the repository may have far more.
        """
        if len(archives) > AT_ONCE:
            return self._all_hits(repository_id)
        ids = [archive.id for archive in archives]
        counts = self.executor.map(lambda archive_id: self.repositories.hits_of(repository_id, archive_id).count, ids)
        return dict(zip(ids, counts, strict=True))

    def _all_hits(self, repository_id: str) -> Mapping[str, int]:
        """Return the hits of as many entries as there is time for; the others are missing."""
        reading = _read(self.repositories.hits(repository_id), self.clock, self.reading_time)
        return {archive_id: hits.count for archive_id, hits in reading}


@dataclass(frozen=True, slots=True)
class Selection:
    """Holds the entries that a filter matches.

    Args:
        repository_id: the repository of the entries.
        entry_filter: what each of them must still match at the moment of its deletion.
        archives: those of the entries, those unused the longest first.
        as_of: the time of the selection; all of its entries had been saved by then.
        is_whole: false if there was no time to look at all entries: the filter may match more recently used ones too.
    """

    repository_id: str
    entry_filter: EntryFilter
    archives: tuple[Archive, ...]
    as_of: Millis
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class Deletion:
    """Says what a call deleted, and what it left.

    Args:
        selected: what the filter matched before the call deleted any of it.
        archives: those whose entries are deleted; in a dry run, would be.
        remaining: least number of further entries that the filter matches, for another call.
    """

    selected: Selection
    archives: tuple[Archive, ...]
    remaining: int = 0

    @property
    def is_whole(self) -> bool:
        return self.selected.is_whole

    @property
    def matched(self) -> Summary:
        return Summary.of(self.selected.archives)


@dataclass(frozen=True, slots=True)
class DeleteEntries:
    """Deletes a repository's entries.

    Args:
        reading_time: time that reading may take; None for as much as it needs, and for as many entries as there are.
    """

    table: Table
    remove_entry: RemoveEntry
    lifetimes: Lifetimes
    clock: Clock
    reading_time: Millis | None

    def __call__(
        self, repository_id: str, entry_filter: EntryFilter, *, dry_run: bool = False, as_of: Millis | None = None
    ) -> Deletion:
        """Delete at most AT_ONCE entries that match, those unused the longest first.

        An entry that doesn't match any more at the moment of its deletion stays.

        Raises:
            InvalidRequest: the filter would match every entry.
        """
        selected = self.select(repository_id, entry_filter, as_of)
        chosen = selected.archives[:AT_ONCE]
        left = len(selected.archives) - len(chosen)
        if dry_run:
            return Deletion(selected, chosen, left)
        tried = list(self._remove(replace(selected, archives=chosen), DELETING_TIME))
        removed = [archive for archive, is_removed in zip(chosen, tried, strict=True) if is_removed]
        return Deletion(selected, tuple(removed), left + tried.count(None))

    def select(self, repository_id: str, entry_filter: EntryFilter, as_of: Millis | None = None) -> Selection:
        """Return the entries that match, for `remove`.

        Args:
            repository_id: the repository of the entries.
            entry_filter: what entries must match.
            as_of: that of an earlier selection; entries that were saved since then aren't selected.

        Raises:
            InvalidRequest: the filter would match every entry.
        """
        if entry_filter.asks_nothing:
            raise InvalidRequest("nothing says which entries are to go: give at least one filter, and not an empty one")
        entry_filter = _with_unnoted_uses(entry_filter, self.lifetimes)
        if as_of is not None:
            before = as_of + 1
            if entry_filter.created_before is not None:
                before = min(before, entry_filter.created_before)
            entry_filter = replace(entry_filter, created_before=before)
        now = self.clock.now()
        stored = self.table.stored_archives(repository_id, at_once=READ_AT_ONCE)
        reading = _read(stored, self.clock, self.reading_time)
        found = [archive for archive in reading if entry_filter.matches(archive)]
        if as_of is None:
            # Other processes' clocks may be ahead of this one's.
            as_of = max([now, *(archive.stored_at for archive in found)])
        return Selection(repository_id, entry_filter, tuple(found), as_of, reading.is_whole)

    def remove(self, selected: Selection) -> Iterator[bool]:
        """Remove the selected entries, however many, and yield for each whether this call has removed it.

        An entry that doesn't match any more, or that others have removed, is left.
        """
        return map(bool, self._remove(selected, None))

    def numbered(self, repository_id: str, number: int, *, dry_run: bool = False) -> Deletion:
        """Delete the entry that clients know by this number (Entry.id).

        Raises:
            TryAgain: there was no time to look at all entries.
        """
        now = self.clock.now()
        archive = self._numbered(repository_id, number)
        selected = Selection(repository_id, EntryFilter(), () if archive is None else (archive,), now)
        is_deleted = dry_run or any(self._remove(selected, None))
        return Deletion(selected, selected.archives if is_deleted else ())

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

    def _remove(self, selected: Selection, time: Millis | None) -> Iterator[bool | None]:
        """Remove the selected entries, and yield for each whether this call has removed it; None if there was no time.

        Args:
            selected: what is to be removed.
            time: how long removals may begin; None for all of them.
        """
        until = None if time is None else self.clock.now() + time

        def matches(current: Archive) -> bool:
            is_here = current.is_stored and current.name.family.repository == selected.repository_id
            return is_here and selected.entry_filter.matches(current)

        def remove(archive: Archive) -> bool | None:
            if until is not None and self.clock.now() > until:
                return None
            for _ in range(ROUNDS):
                if self.remove_entry(archive.id, matches):
                    return True
                current = self.table.archive(archive.id)
                if current is None or not matches(current):
                    return False
            return False

        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            yield from pool.map(remove, selected.archives)


def _with_unnoted_uses(entry_filter: EntryFilter, lifetimes: Lifetimes) -> EntryFilter:
    """Return a stricter filter, for which an entry counts as used as late as it may have been.

    A use soon after a noted one isn't noted itself, for as long as `last_use_resolution`.
    """
    if entry_filter.unused_since is None:
        return entry_filter
    return replace(entry_filter, unused_since=entry_filter.unused_since - lifetimes.last_use_resolution)


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
