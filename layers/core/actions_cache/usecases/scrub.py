"""The scrub: what the table points to, held against the bucket. It finds what was lost or changed in silence.

Lookups and readers notice a missing or replaced object by themselves, but only of entries that somebody wants; and
bytes that rotted under an ETag that stayed, nobody notices who doesn't hash them.
"""

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from actions_cache.domain.archive import Archive, Manifest, Part
from actions_cache.domain.checksum import contradict, etag_of
from actions_cache.domain.entry import EntryName
from actions_cache.domain.happenings import about
from actions_cache.domain.part_range import PartRange, whole
from actions_cache.domain.timing import DAY, Millis
from actions_cache.ports import Bucket, Clock, ObjectGone, Table, Unavailable, WrongBytes
from actions_cache.usecases.manifests import Manifests
from actions_cache.usecases.remove_entry import RemoveEntry

logger = logging.getLogger(__name__)

READ_BYTES = 8 * 1024 * 1024
"""Read, and held, at once. Larger: fewer requests; smaller: less memory."""

ANY_DAY: Millis = 100 * 365 * DAY
"""From now on: by then every archive is due for something, so that the agenda lists them all."""


class Finding(StrEnum):
    GONE = "it isn't there"
    REPLACED = "it has another size or ETag"
    ROTTEN = "its bytes aren't those that came in"


@dataclass(frozen=True, slots=True)
class Damage:
    archive_id: str
    name: EntryName
    object: Part
    finding: Finding


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """One archive, looked at."""

    archive_id: str
    size: int | None = None
    """None where there is nothing that a reader could ask for."""
    damage: Damage | None = None
    is_removed: bool = False
    """Its entry was."""
    fault: str | None = None
    """Why nothing can be said about it."""


@dataclass(frozen=True, slots=True)
class Scrub:
    table: Table
    bucket: Bucket
    manifests: Manifests
    clock: Clock
    remove_entry: RemoveEntry

    def archives(self) -> Iterator[str]:
        """The ids of all, in no order. Those of the last seconds may be missing: an index lags behind its table."""
        return self.table.due_archives(self.clock.now() + ANY_DAY)

    def __call__(
        self, archive_ids: Iterable[str], *, deep: bool, removes: bool, concurrency: int = 1
    ) -> Iterator[Scrubbed]:
        """Each archive as it is done.

        Args:
            archive_ids: which.
            deep: reads and hashes every byte; else objects are only asked for size and ETag.
            removes: the entry of a damaged archive goes, so that the next lookup misses.
            concurrency: how many at once. Each holds up to READ_BYTES where it is deep.
        """
        with ThreadPoolExecutor(concurrency, thread_name_prefix="scrub") as executor:
            try:
                yield from executor.map(partial(self._scrubbed, deep=deep, removes=removes), archive_ids)
            finally:
                executor.shutdown(cancel_futures=True)

    def _scrubbed(self, archive_id: str, *, deep: bool, removes: bool) -> Scrubbed:
        try:
            return self.archive(archive_id, deep=deep, removes=removes)
        except Unavailable as fault:
            return Scrubbed(archive_id, fault=str(fault))

    def archive(self, archive_id: str, *, deep: bool, removes: bool) -> Scrubbed:
        """With the first damage to what this archive's next reader would read.

        Raises: Unavailable.
        """
        archive = self.table.archive(archive_id)
        if archive is None or not archive.is_stored:
            return Scrubbed(archive_id)
        damage = self._damage(archive, deep=deep)
        # Merged, swept or removed meanwhile: then what was looked at isn't needed any more.
        if damage is None or not self._still_needs(archive):
            return Scrubbed(archive_id, archive.size)
        logger.error(
            "silent damage",
            extra={**about(archive), "object": damage.object.key, "finding": damage.finding},
        )
        is_removed = removes and self.remove_entry(archive_id, lambda seen: seen.object == archive.object)
        return Scrubbed(archive_id, archive.size, damage, is_removed)

    def _still_needs(self, archive: Archive) -> bool:
        now = self.table.archive(archive.id)
        return now is not None and now.is_stored and now.object == archive.object

    def _damage(self, archive: Archive, *, deep: bool) -> Damage | None:
        """By size and ETag first: what is gone needn't be hashed."""
        try:
            manifest = self._manifest(archive)
            objects = (archive.object,) if archive.object else manifest.parts
            for part in objects:
                if finding := self._compared(part):
                    return Damage(archive.id, archive.name, part, finding)
            for source, etag in _checksums(archive, manifest) if deep else ():
                if self._is_rotten(source, etag):
                    return Damage(archive.id, archive.name, source.part, Finding.ROTTEN)
        except ObjectGone as gone:
            return Damage(archive.id, archive.name, gone.part, self._compared(gone.part) or Finding.GONE)
        except WrongBytes as wrong:
            return Damage(archive.id, archive.name, wrong.part, Finding.ROTTEN)
        return None

    def _manifest(self, archive: Archive) -> Manifest:
        """The parts as they came in. Of a merged archive they are forgotten after a while: then the object itself.

        Raises:
            ObjectGone: it is missing, and needed.
            WrongBytes: it rotted, and is needed.
        """
        try:
            return self.manifests.of(archive)
        except (ObjectGone, WrongBytes):
            if archive.object is None:
                raise
            return Manifest((archive.object,))

    def _compared(self, part: Part) -> Finding | None:
        stands = self.bucket.stat(part.key)
        if stands is None:
            return Finding.GONE
        return None if stands == part else Finding.REPLACED

    def _is_rotten(self, source: PartRange, etag: str) -> bool:
        """Only if it is so twice: a bit may have flipped on its way here.

        Raises: ObjectGone, WrongBytes.
        """
        return all(contradict(etag_of(self._chunks(source)), etag) for _ in range(2))

    def _chunks(self, source: PartRange) -> Iterator[bytes]:
        for start in range(source.start, source.end, READ_BYTES):
            yield self.bucket.read(PartRange(source.part, start, min(start + READ_BYTES, source.end)))


def _checksums(archive: Archive, manifest: Manifest) -> Iterator[tuple[PartRange, str]]:
    """Where the bytes of each part stand now, and the ETag that the part had when it came in."""
    offset = 0
    for part in manifest.parts:
        if archive.object is None:
            yield whole(part), part.etag
        else:
            yield PartRange(archive.object, offset, offset + part.size), part.etag
        offset += part.size
