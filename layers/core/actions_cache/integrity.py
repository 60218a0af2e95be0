"""Check and repair for operators: look for damaged archives, and redrive dead letters."""

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
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
"""Number of bytes that are read, and held in memory, at once. More: fewer requests. Fewer: less memory."""

EVERYTHING_IS_DUE_AFTER: Millis = 100 * 365 * DAY
"""Time after which every archive is due for some task, so that the cleanup schedule lists them all."""


class Finding(StrEnum):
    """Names what is wrong with an object."""

    GONE = "it isn't there"
    REPLACED = "it has another size or ETag"
    ROTTEN = "its bytes aren't those that came in"


@dataclass(frozen=True, slots=True)
class Damage:
    """Describes the first damaged object that an archive's readers need."""

    archive_id: str
    name: EntryName
    object: Part
    finding: Finding


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """The result for one archive."""

    archive_id: str
    size: int | None = None
    """Size in bytes, or None if the archive isn't stored, so that no reader can ask for it."""
    damage: Damage | None = None
    is_removed: bool = False
    """True if the archive's entry was removed."""
    error: str | None = None
    """The reason why the archive couldn't be checked."""


@dataclass(frozen=True, slots=True)
class Scrub:
    """Compares what the table refers to with what the bucket has."""

    table: Table
    bucket: Bucket
    manifests: Manifests
    clock: Clock
    remove_entry: RemoveEntry

    def archives(self) -> Iterator[str]:
        """Yield the ids of all archives, in no order. An index lags behind, so those of the last seconds may miss."""
        return self.table.due_archives(self.clock.now() + EVERYTHING_IS_DUE_AFTER)

    def __call__(
        self, archive_ids: Iterable[str], *, deep: bool, removes: bool, concurrency: int = 1
    ) -> Iterator[Scrubbed]:
        """Check archives, and yield each result when it is there.

        Args:
            archive_ids: ids of the archives to check.
            deep: read and hash every byte, rather than compare only sizes and ETags.
            removes: remove the entries of damaged archives, so that the next lookup misses.
            concurrency: number of archives checked at once; each holds up to READ_BYTES if `deep`.
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
            return Scrubbed(archive_id, error=str(error))

    def archive(self, archive_id: str, *, deep: bool, removes: bool) -> Scrubbed:
        """Check one archive, and return the first damage to what its next reader would read.

        Raises:
            Unavailable: table or bucket don't answer.
        """
        archive = self.table.archive(archive_id)
        if archive is None or not archive.is_stored:
            return Scrubbed(archive_id)
        damage = self._damage(archive, deep=deep)
        # If the archive was merged, swept or removed meanwhile, nobody needs the damaged object any more.
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
        """Return the first damage. Sizes and ETags are compared first, since a missing object needn't be hashed."""
        try:
            manifest = self._manifest(archive)
            objects = (archive.object,) if archive.object else manifest.parts
            for part in objects:
                if finding := self._compare(part):
                    return Damage(archive.id, archive.name, part, finding)
            for source, etag in _checksums(archive, manifest) if deep else ():
                if self._is_rotten(source, etag):
                    return Damage(archive.id, archive.name, source.part, Finding.ROTTEN)
        except ObjectGone as gone:
            return Damage(archive.id, archive.name, gone.part, self._compare(gone.part) or Finding.GONE)
        except WrongBytes as wrong:
            return Damage(archive.id, archive.name, wrong.part, Finding.ROTTEN)
        return None

    def _manifest(self, archive: Archive) -> Manifest:
        """Return the parts as they were uploaded. After a merge their manifest may be gone: then the object itself.

        Raises:
            ObjectGone: the manifest is missing and needed.
            WrongBytes: the manifest has other bytes and is needed.
        """
        try:
            return self.manifests.of(archive)
        except (ObjectGone, WrongBytes):
            if archive.object is None:
                raise
            return Manifest((archive.object,))

    def _compare(self, part: Part) -> Finding | None:
        existing = self.bucket.stat(part.key)
        if existing is None:
            return Finding.GONE
        return None if existing == part else Finding.REPLACED

    def _is_rotten(self, source: PartRange, etag: str) -> bool:
        """Return whether the bytes have another ETag, twice: a single time, a bit may have flipped on the way.

        Raises:
            ObjectGone: the object is missing.
            WrongBytes: the store itself sent other bytes than its ETag stands for.
        """
        return all(etags_conflict(etag_of(self._chunks(source)), etag) for _ in range(2))

    def _chunks(self, source: PartRange) -> Iterator[bytes]:
        for start in range(source.start, source.end, READ_BYTES):
            yield self.bucket.read(PartRange(source.part, start, min(start + READ_BYTES, source.end)))


def _checksums(archive: Archive, manifest: Manifest) -> Iterator[tuple[PartRange, str]]:
    """Yield the place of each part's bytes now, and the ETag that the part had when it was uploaded."""
    offset = 0
    for part in manifest.parts:
        if archive.object is None:
            yield full_range(part), part.etag
        else:
            yield PartRange(archive.object, offset, offset + part.size), part.etag
        offset += part.size


# ---------------------------------------------------------------- dead letters


class RedriveAction(StrEnum):
    """Says what redriving a dead letter does, in the words that operators see."""

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
class RedriveResult:
    """A dead letter, its archive, and what redriving it did or would do."""

    dead_letter: DeadLetter
    archive: Archive | None
    action: RedriveAction
    is_done: bool = False
    error: str | None = None
    """The reason why the action failed, so that the dead letter stays."""


@dataclass(frozen=True, slots=True)
class RedriveDeadLetters:
    """Gives merges that failed for good another try, and drops the dead letters that nobody needs."""

    table: Table
    dead_letters: DeadLetters
    clock: Clock
    claim_merge: ClaimMerge

    def __call__(self, *, acts: bool, drops_unreadable: bool = False) -> Iterator[RedriveResult]:
        """Redrive each dead letter, and yield what that did or would do.

        A claim is written on condition that nothing has changed since the archive was read, and its message carries a
        token of its own: whatever still holds the old token ends without an effect. The dead letter is deleted last,
        so that it is still there if anything fails.

        Args:
            acts: do it; otherwise nothing changes.
            drops_unreadable: drop dead letters that are no merge messages, too.
        """
        with self.dead_letters.held() as dead_letters:
            for dead_letter in dead_letters:
                planned = self._plan(dead_letter)
                yield self._act(planned, drops_unreadable=drops_unreadable) if acts else planned

    def _plan(self, dead_letter: DeadLetter) -> RedriveResult:
        if dead_letter.message is None:
            return RedriveResult(dead_letter, None, RedriveAction.LEAVE_UNREADABLE)
        archive = self.table.archive(dead_letter.message.archive_id)
        return RedriveResult(dead_letter, archive, self._action(archive, dead_letter.message))

    def _action(self, archive: Archive | None, message: MergeMessage) -> RedriveAction:
        if archive is None or not archive.is_stored:
            return RedriveAction.DROP_GONE
        if not claim.needs_merge(archive):
            return RedriveAction.DROP_MERGED
        if claim.redriven(archive, message.claim_token, "token", self.clock.now()):
            return RedriveAction.CLAIM
        is_current = archive.merge.claim_token == message.claim_token
        return RedriveAction.LEAVE_RUNNING if is_current else RedriveAction.DROP_OVERTAKEN

    def _act(self, planned: RedriveResult, *, drops_unreadable: bool) -> RedriveResult:
        dead_letter, action = planned.dead_letter, planned.action
        try:
            if (
                action is RedriveAction.CLAIM
                and dead_letter.message
                and not self.claim_merge.again(dead_letter.message)
            ):
                return self._plan(dead_letter)
            is_dropped = not action.leaves or (drops_unreadable and action is RedriveAction.LEAVE_UNREADABLE)
            if is_dropped:
                self.dead_letters.delete(dead_letter)
        except (Unavailable, TryAgain) as error:
            logger.exception("a dead letter stays", extra={"letter": dead_letter.id})
            return replace(planned, error=str(error))
        return replace(planned, is_done=is_dropped)
