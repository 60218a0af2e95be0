"""GetCacheEntryDownloadURL: which entry matches, and where its bytes are to be had."""

import logging
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import islice, product

from actions_cache import events
from actions_cache.activity import NoteActivity
from actions_cache.archives import RemoveBroken
from actions_cache.domain.archive import Archive, needed_first, used
from actions_cache.domain.delivery import choose_source
from actions_cache.domain.entry import Entry, EntryFamily, EntryName
from actions_cache.domain.timing import Lifetimes
from actions_cache.events import MissReason
from actions_cache.ports import Bucket, Clock, ObjectGone, Table, Telemetry, Unavailable, WriteConflict
from actions_cache.urls import SourceUrls

logger = logging.getLogger(__name__)

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
    can_read_from_s3: bool
    """False for clients that may seek with `x-ms-range`, which S3 ignores."""
    through_edge: bool
    undivided_key: str | None = None
    """Whole text of a client's comma-separated keys, since a key may hold a comma: an entry of exactly this name goes
    before those of the pieces."""


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
    telemetry: Telemetry
    executor: Executor
    """Prefixes are asked for by them, side by side; shared by all lookups."""

    def __call__(self, query: Query) -> Hit | None:
        """Return the hit, or None for a miss.

        An entry whose only object or manifest is gone is removed on the way; parts are checked when read.
        """
        hit = self._hit(query)
        if hit is None:
            self.note_activity.miss(query.repository)
        return hit

    def _hit(self, query: Query) -> Hit | None:
        reason = MissReason.NO_MATCH
        for _ in range(MAX_BROKEN):
            entry = self._match(query)
            if entry is None:
                break
            archive = self.table.archive(entry.archive_id)
            if archive is None or not archive.is_stored:
                continue
            needed = needed_first(archive)
            if needed is not None and self.bucket.stat(needed.key) != needed:
                self.remove_broken(archive, ObjectGone(needed))
                reason = MissReason.BROKEN
                continue
            self._note_use(archive)
            self.telemetry.emit(events.hit(entry, query.key, is_merged=archive.object is not None))
            self.note_activity.hit(archive)
            return Hit(entry, self._url(archive, query))
        self.telemetry.emit(events.missed(query.repository, query.scopes, query.key, reason))
        return None

    def _match(self, query: Query) -> Entry | None:
        """All keys in one scope before the next scope; the exact key, then each key as a prefix.

        Two rounds at most, however many scopes and keys. The exact key is asked for in all scopes by one request, since
        a pull request's first job finds it in a later scope: then nothing needs asking that comes after that scope.
        """
        families = [EntryFamily(query.repository, scope, query.version) for scope in _without_repeats(query.scopes)]
        keys = [query.key] if query.undivided_key is None else [query.undivided_key, query.key]
        names = [EntryName(family, key) for family in families for key in keys]
        exact = self.table.entries(names)
        nearest = next((exact[name] for name in names if name in exact), None)
        earlier = families[: families.index(nearest.name.family)] if nearest else families
        return self._newest(earlier, query) or nearest

    def _newest(self, families: Sequence[EntryFamily], query: Query) -> Entry | None:
        """All asked at the same time. What hasn't been asked yet when the first match is known never is."""
        prefixes = _without_repeats((query.key, *query.restore_keys))
        asked = [self.executor.submit(self.table.newest_entry, *it) for it in product(families, prefixes)]
        try:
            return next(filter(None, (answer.result() for answer in asked)), None)
        finally:
            for answer in asked:
                answer.cancel()

    def _url(self, archive: Archive, query: Query) -> str:
        source = choose_source(archive, can_read_from_s3=query.can_read_from_s3, has_edge=query.through_edge)
        return self.sources.url(source, archive)

    def _note_use(self, archive: Archive) -> None:
        updated = used(archive, self.clock.now(), self.lifetimes)
        if updated is not None:
            try:
                self.table.replace_archive(archive, updated)
            except WriteConflict:
                # Somebody else noted it, or the merge went on: a use is noted at the next lookup then.
                return
            except Unavailable:
                # The hit is known; the next lookup notes the use.
                logger.exception("a use wasn't noted")


def _without_repeats(keys: Sequence[str]) -> tuple[str, ...]:
    """Some clients send the primary key among the restore keys too (docs/design/protocol.md#encodings)."""
    return tuple(dict.fromkeys(keys))


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
