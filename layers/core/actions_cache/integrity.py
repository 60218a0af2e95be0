"""What operators check and mend: verify stored archives, and redrive dead letters."""

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from actions_cache.archives import ClaimMerge, Manifests, RemoveEntry
from actions_cache.domain import claim
from actions_cache.domain.archive import Archive, Manifest, Part
from actions_cache.domain.checksum import etag_of, etags_conflict
from actions_cache.domain.entry import EntryName
from actions_cache.domain.errors import TryAgain
from actions_cache.domain.ranges import PartRange, full_range
from actions_cache.domain.timing import DAY, Millis
from actions_cache.events import about
from actions_cache.ports import (
    Bucket,
    Clock,
    DeadLetter,
    DeadLetters,
    MergeMessage,
    ObjectGone,
    Table,
    Unavailable,
    WrongBytes,
)

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
        except Unavailable as error:
            return Scrubbed(archive_id, fault=str(error))

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
        is_removed = removes and self.remove_entry(archive_id, lambda current: current.object == archive.object)
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
        existing = self.bucket.stat(part.key)
        if existing is None:
            return Finding.GONE
        return None if existing == part else Finding.REPLACED

    def _is_rotten(self, source: PartRange, etag: str) -> bool:
        """Only if it is so twice: a bit may have flipped on its way here.

        Raises: ObjectGone, WrongBytes.
        """
        return all(etags_conflict(etag_of(self._chunks(source)), etag) for _ in range(2))

    def _chunks(self, source: PartRange) -> Iterator[bytes]:
        for start in range(source.start, source.end, READ_BYTES):
            yield self.bucket.read(PartRange(source.part, start, min(start + READ_BYTES, source.end)))


def _checksums(archive: Archive, manifest: Manifest) -> Iterator[tuple[PartRange, str]]:
    """Where the bytes of each part stand now, and the ETag that the part had when it came in."""
    offset = 0
    for part in manifest.parts:
        if archive.object is None:
            yield full_range(part), part.etag
        else:
            yield PartRange(archive.object, offset, offset + part.size), part.etag
        offset += part.size


class RedriveAction(StrEnum):
    """What a letter's replay does."""

    CLAIM = "claims the merge anew"
    DROP_GONE = "drops the letter: the entry is gone"
    DROP_MERGED = "drops the letter: the archive is one object"
    DROP_OVERTAKEN = "drops the letter: a newer claim is under way"
    LEAVE_RUNNING = "leaves the letter: a run of it is under way"
    LEAVE_UNREADABLE = "leaves the letter: it is no merge message"

    @property
    def leaves(self) -> bool:
        return self in (RedriveAction.LEAVE_RUNNING, RedriveAction.LEAVE_UNREADABLE)


@dataclass(frozen=True, slots=True)
class Reading:
    """A letter with what the table says about it."""

    dead_letter: DeadLetter
    archive: Archive | None
    prospect: RedriveAction
    is_done: bool = False
    fault: str | None = None
    """Why it couldn't be done. Then the letter stays."""


@dataclass(frozen=True, slots=True)
class RedriveDeadLetters:
    table: Table
    dead_letters: DeadLetters
    clock: Clock
    claim_merge: ClaimMerge

    def __call__(self, *, acts: bool, drops_unreadable: bool = False) -> Iterator[Reading]:
        """Each letter, with what its replay did, or would do.

        A claim is written on condition that nothing has changed since the archive was read, and its message carries a
        token of its own: whatever still holds the old one ends without an effect. The letter goes last, so that it
        is still there where anything fails.

        Args:
            acts: else nothing changes.
            drops_unreadable: letters that are no merge messages go too.
        """
        with self.dead_letters.held() as dead_letters:
            for dead_letter in dead_letters:
                reading = self._read(dead_letter)
                yield self._act(reading, drops_unreadable=drops_unreadable) if acts else reading

    def _read(self, dead_letter: DeadLetter) -> Reading:
        if dead_letter.message is None:
            return Reading(dead_letter, None, RedriveAction.LEAVE_UNREADABLE)
        archive = self.table.archive(dead_letter.message.archive_id)
        return Reading(dead_letter, archive, self._prospect(archive, dead_letter.message))

    def _prospect(self, archive: Archive | None, message: MergeMessage) -> RedriveAction:
        if archive is None or not archive.is_stored:
            return RedriveAction.DROP_GONE
        if not claim.needs_merge(archive):
            return RedriveAction.DROP_MERGED
        if claim.redriven(archive, message.claim_token, "token", self.clock.now()):
            return RedriveAction.CLAIM
        is_current = archive.merge.claim_token == message.claim_token
        return RedriveAction.LEAVE_RUNNING if is_current else RedriveAction.DROP_OVERTAKEN

    def _act(self, reading: Reading, *, drops_unreadable: bool) -> Reading:
        dead_letter, prospect = reading.dead_letter, reading.prospect
        try:
            if (
                prospect is RedriveAction.CLAIM
                and dead_letter.message
                and not self.claim_merge.again(dead_letter.message)
            ):
                return self._read(dead_letter)
            is_dropped = not prospect.leaves or (drops_unreadable and prospect is RedriveAction.LEAVE_UNREADABLE)
            if is_dropped:
                self.dead_letters.delete(dead_letter)
        except (Unavailable, TryAgain) as error:
            logger.exception("a dead letter stays", extra={"letter": dead_letter.id})
            return Reading(dead_letter, reading.archive, prospect, fault=str(error))
        return Reading(dead_letter, reading.archive, prospect, is_done=is_dropped)
