"""Entries that people delete: those that a filter names, and never one more."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from actions_cache.domain.archive import Archive
from actions_cache.domain.entry import numbered_archive_id
from actions_cache.domain.errors import InvalidRequest, TryAgain
from actions_cache.domain.listing import EntryFilter
from actions_cache.domain.timing import Lifetimes, Millis
from actions_cache.ports import Clock, Table
from actions_cache.usecases.reading import READ_AT_ONCE, Reading
from actions_cache.usecases.remove_entry import RemoveEntry

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

        def is_wanted(seen: Archive) -> bool:
            return seen.is_stored and seen.name.family.repository == repository_id and wanted.matches(seen)

        def remove(archive: Archive) -> bool:
            for _ in range(ROUNDS):
                if self.remove_entry(archive.id, is_wanted):
                    return True
                seen = self.table.archive(archive.id)
                if seen is None or not is_wanted(seen):
                    return False
            return False

        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            return [archive for archive, is_gone in zip(chosen, pool.map(remove, chosen), strict=True) if is_gone]
