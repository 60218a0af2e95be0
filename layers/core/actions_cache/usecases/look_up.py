"""GetCacheEntryDownloadURL: which entry matches, and where its bytes are to be had."""

from collections.abc import Sequence
from dataclasses import dataclass

from actions_cache.domain.archive import Archive, used
from actions_cache.domain.delivery import choose_source, is_plain_reader
from actions_cache.domain.entry import Entry, EntryFamily, EntryName
from actions_cache.domain.timing import Lifetimes
from actions_cache.ports import Bucket, Clock, Table, WriteConflict
from actions_cache.usecases.note_activity import NoteActivity
from actions_cache.usecases.remove_entry import RemoveBroken
from actions_cache.usecases.urls import SourceUrls

MAX_BROKEN = 5
"""Entries found broken in one lookup before it is called a miss."""


@dataclass(frozen=True, slots=True)
class Query:
    repository: str
    scopes: tuple[str, ...]
    """In the order in which they are searched."""
    version: str
    key: str
    restore_keys: tuple[str, ...]
    user_agent: str
    through_edge: bool


@dataclass(frozen=True, slots=True)
class Hit:
    entry: Entry
    url: str
    """Absolute, or a path of ours."""

    @property
    def key(self) -> str:
        return self.entry.name.key


@dataclass(frozen=True, slots=True)
class LookUp:
    table: Table
    bucket: Bucket
    clock: Clock
    sources: SourceUrls
    remove_broken: RemoveBroken
    note_activity: NoteActivity
    lifetimes: Lifetimes

    def __call__(self, query: Query) -> Hit | None:
        """None for a miss. An entry whose one object is gone is removed on the way; parts are checked when read."""
        hit = self._hit(query)
        if hit is None:
            self.note_activity.miss(query.repository)
        return hit

    def _hit(self, query: Query) -> Hit | None:
        for _ in range(MAX_BROKEN):
            entry = self._match(query)
            if entry is None:
                return None
            archive = self.table.archive(entry.archive_id)
            if archive is None or not archive.is_stored:
                continue
            if archive.object is not None and self.bucket.stat(archive.object.key) != archive.object:
                self.remove_broken(archive.id, archive.object)
                continue
            self._note_use(archive)
            self.note_activity.hit(archive)
            return Hit(entry, self._url(archive, query))
        return None

    def _match(self, query: Query) -> Entry | None:
        """All keys in one scope before the next scope; the exact key, then each key as a prefix."""
        for scope in query.scopes:
            family = EntryFamily(query.repository, scope, query.version)
            exact = self.table.entry(EntryName(family, query.key))
            if exact is not None:
                return exact
            for prefix in _without_repeats((query.key, *query.restore_keys)):
                newest = self.table.newest_entry(family, prefix)
                if newest is not None:
                    return newest
        return None

    def _url(self, archive: Archive, query: Query) -> str:
        reads_plainly = is_plain_reader(query.user_agent)
        source = choose_source(archive, reads_plainly=reads_plainly, has_edge=query.through_edge)
        return self.sources.url(source, archive)

    def _note_use(self, archive: Archive) -> None:
        by = used(archive, self.clock.now(), self.lifetimes)
        if by is not None:
            try:
                self.table.replace_archive(archive, by)
            except WriteConflict:
                # Somebody else noted it, or the merge went on: a use is noted at the next lookup then.
                return


def _without_repeats(keys: Sequence[str]) -> tuple[str, ...]:
    """Some clients send the primary key among the restore keys too (WIRE.md section 1)."""
    return tuple(dict.fromkeys(keys))
