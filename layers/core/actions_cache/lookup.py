"""Look up an entry: which one matches a job's keys, and the URL to read its bytes from."""

import logging
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import islice

from actions_cache import events
from actions_cache.activity import NoteActivity
from actions_cache.archives import RemoveBroken
from actions_cache.domain.archive import Archive, needed_first, used
from actions_cache.domain.delivery import choose_source
from actions_cache.domain.entry import Entry
from actions_cache.domain.search import Probe, Search
from actions_cache.domain.timing import Lifetimes
from actions_cache.events import MissReason
from actions_cache.ports import Bucket, Clock, ObjectGone, Table, Telemetry, Unavailable, WriteConflict
from actions_cache.urls import SourceUrls

logger = logging.getLogger(__name__)

MAX_BROKEN = 5
"""Entries found broken in one lookup before it is called a miss."""


@dataclass(frozen=True, slots=True)
class Query:
    """Describes a lookup: the search (see Search for its fields), and how its client will read."""

    repository: str
    scopes: tuple[str, ...]
    version: str
    key: str
    restore_keys: tuple[str, ...]
    can_read_from_s3: bool
    """False for clients that may seek with `x-ms-range`, which S3 ignores."""
    through_edge: bool
    undivided_key: str | None = None

    @property
    def search(self) -> Search:
        return Search(self.repository, self.scopes, self.key, self.restore_keys, self.undivided_key)


@dataclass(frozen=True, slots=True)
class Hit:
    entry: Entry
    url: str
    """URL to read from: absolute, or a path of this server's."""

    @property
    def key(self) -> str:
        return self.entry.name.key


@dataclass(frozen=True, slots=True)
class LookUp:
    """Finds the entry that a job restores.

    Args:
        executor: runs the prefix queries side by side; all lookups share it.
    """

    table: Table
    bucket: Bucket
    clock: Clock
    sources: SourceUrls
    remove_broken: RemoveBroken
    note_activity: NoteActivity
    lifetimes: Lifetimes
    telemetry: Telemetry
    executor: Executor

    def __call__(self, query: Query) -> Hit | None:
        """Return the hit, or None for a miss.

        An entry whose only object or manifest is gone is removed on the way; parts are checked when read.
        """
        hit = self._hit(query)
        if hit is None:
            self.note_activity.miss(query.repository, query.key)
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
            wait_until_noted = self.note_activity.hit(archive, query.search, partial(self._note_use, archive))
            self.telemetry.emit(events.hit(entry, query.key, is_merged=archive.object is not None))
            hit = Hit(entry, self._url(archive, query))
            wait_until_noted()
            return hit
        self.telemetry.emit(events.missed(query.repository, query.scopes, query.key, reason))
        return None

    def _match(self, query: Query) -> Entry | None:
        """Return the entry that the first successful probe finds.

        Two rounds of requests suffice, however many scopes and keys. One request asks for the exact keys in all scopes,
        since a pull request's first job finds its key in a later scope; then only the prefixes before it are asked for.
        """
        probes = list(query.search.probes(query.version))
        exact = self.table.entries([probe.name for probe in probes if probe.is_exact])
        nearest = next((index for index, probe in enumerate(probes) if probe.is_exact and probe.name in exact), None)
        prefixes = [probe for probe in probes[:nearest] if not probe.is_exact]
        return self._newest(prefixes) or (None if nearest is None else exact[probes[nearest].name])

    def _newest(self, prefixes: Sequence[Probe]) -> Entry | None:
        """Ask for all prefixes at the same time, and cancel what hasn't begun once the first match is known."""
        answers = [self.executor.submit(self.table.newest_entry, probe.family, probe.key) for probe in prefixes]
        try:
            return next(filter(None, (answer.result() for answer in answers)), None)
        finally:
            for answer in answers:
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
                # Another lookup noted the use, or the merge went on; then the next lookup notes it.
                return
            except Unavailable:
                # The hit is known all the same, and the next lookup notes the use.
                logger.exception("a use wasn't noted")


MOST_LISTED = 30
"""Entries listed at most; each becomes a line of the job's log."""

MOST_READ = 1_000
"""Archives of the repository that are read at most, some 1 KB each: ten pages of the index, one after the other."""


@dataclass(frozen=True, slots=True)
class ListSimilar:
    """Lists entries with a similar key, for the debug log of a job that missed."""

    table: Table

    def __call__(self, repository: str, scopes: Sequence[str], prefix: str) -> tuple[Entry, ...]:
        """Return entries of any version in these scopes whose key begins with the prefix, the last used first.

        In a repository of more than MOST_READ entries, those unused the longest aren't found.
        """
        archives = islice(self.table.stored_archives(repository, newest_use_first=True), MOST_READ)
        similar = (
            archive.entry
            for archive in archives
            if archive.name.family.scope in scopes and archive.name.key.startswith(prefix)
        )
        return tuple(islice(similar, MOST_LISTED))
