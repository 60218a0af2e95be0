"""The schedule's work: whatever is due, one archive after the other, until there is nothing or no time left."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from actions_cache.domain import claim, happenings
from actions_cache.domain.agenda import Duty, kept_keys, needs_parts, next_duty
from actions_cache.domain.archive import Archive, ArchiveState, deleted, postponed, swept
from actions_cache.domain.errors import TryAgain
from actions_cache.domain.happenings import RunEnd, about
from actions_cache.domain.layout import ArchiveKeys
from actions_cache.domain.timing import SECOND, Lifetimes, Millis
from actions_cache.ports import Bucket, Clock, Table, Telemetry, Unavailable, WriteConflict
from actions_cache.usecases.claim_merge import ClaimMerge
from actions_cache.usecases.manifests import Manifests
from actions_cache.usecases.remove_entry import RemoveEntry
from actions_cache.usecases.transition import transition

POSTPONED_FOR: Millis = 600 * SECOND
"""An archive that cleanup failed on waits this long, lest it keep the others waiting at every run."""

MAX_DUTIES = 10
"""Of one archive in one run. Its whole life has fewer, so more means that one of them changes nothing."""

DEADLINE_MARGIN: Millis = 15 * SECOND
"""One duty's time: the listing and deletion of 10,000 parts."""


@dataclass(frozen=True, slots=True)
class CleanUp:
    table: Table
    bucket: Bucket
    manifests: Manifests
    clock: Clock
    claim_merge: ClaimMerge
    remove_entry: RemoveEntry
    lifetimes: Lifetimes
    max_attempts: int
    merges_at_finalize: bool
    telemetry: Telemetry

    def __call__(self, remaining: Callable[[], Millis]) -> Counter[str]:
        """Does what is due. What it leaves, the next run finds: each archive's due time stands in the table.

        Returns: how often each duty was done, and how many archives it failed on.
        """
        done: Counter[str] = Counter()
        for archive_id in self.table.due_archives(self.clock.now()):
            if remaining() < DEADLINE_MARGIN:
                done["left for the next run"] += 1
                break
            try:
                self._do_duties(archive_id, done, remaining)
            except Exception as fault:  # noqa: BLE001 - told, with where it came from; the others still get their turn
                self.telemetry.tell(happenings.duty_failed(archive_id, fault))
                done["failed"] += 1
                self._postpone(archive_id)
        return done

    def _do_duties(self, archive_id: str, done: Counter[str], remaining: Callable[[], Millis]) -> None:
        """Each duty done makes the next one due at another time; a lost write means that others took it up."""
        for _ in range(MAX_DUTIES):
            archive = self.table.archive(archive_id)
            if archive is None or remaining() < DEADLINE_MARGIN:
                return
            due_at, duty = next_duty(archive, self.lifetimes, merges_at_finalize=self.merges_at_finalize)
            if due_at > self.clock.now():
                return
            try:
                self._do(duty, archive)
            except WriteConflict:
                continue
            done[duty] += 1
            self.telemetry.tell(happenings.duty_done(archive, duty))
        raise RuntimeError(f"{archive_id} stays due after {MAX_DUTIES} duties")

    def _do(self, duty: Duty, archive: Archive) -> None:
        match duty:
            case Duty.DROP_RESERVATION:
                self._drop_reservation(archive)
            case Duty.RETAKE_CLAIM:
                self._retake_claim(archive)
            case Duty.SWEEP:
                self._sweep(archive)
            case Duty.EXPIRE_ENTRY:
                self.remove_entry(archive.id, lambda seen: seen.last_used_at == archive.last_used_at)
            case Duty.FORGET:
                self.table.forget_archive(archive)

    def _drop_reservation(self, archive: Archive) -> None:
        """The tombstone decides against a Finalize in the same moment; the reservation only holds the key."""
        by = deleted(archive, self.clock.now())
        if by is not None:
            self.table.replace_archive(archive, by)
        self.table.drop_reservation(archive.reservation)

    def _retake_claim(self, archive: Archive) -> None:
        given_up = claim.given_up(archive, self.clock.now(), self.lifetimes, self.max_attempts)
        if given_up is not None:
            self.table.replace_archive(archive, given_up)
            self.telemetry.tell(happenings.merge_ended(about(archive), RunEnd.GIVEN_UP))
            return
        self.claim_merge(archive.id)

    def _sweep(self, listed_before: Archive) -> None:
        """Deletes the archive's orphans. Lists first, reads the archive after: see kept_keys."""
        now = self.clock.now()
        listed = [part.key for part in self.bucket.list(ArchiveKeys(listed_before.id).prefix)]
        archive = self.table.archive(listed_before.id)
        if archive is None or archive.state is ArchiveState.RESERVED:
            return
        manifest = self.manifests.of(archive) if needs_parts(archive, now, self.lifetimes) else None
        kept = kept_keys(archive, manifest, now, self.lifetimes)
        self.bucket.delete([key for key in listed if key not in kept])
        if archive.state is ArchiveState.DELETED:
            self.table.drop_reservation(archive.reservation)
        self.table.replace_archive(archive, swept(archive, now))

    def _postpone(self, archive_id: str) -> None:
        # What the table doesn't take now is due at the next run again; the others still get their turn.
        with suppress(Unavailable, TryAgain):
            transition(self.table, archive_id, lambda seen: postponed(seen, self.clock.now() + POSTPONED_FOR))
