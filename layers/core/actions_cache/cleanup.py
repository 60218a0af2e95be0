"""Clean up on a schedule: do what is due for each archive, and delete objects that no archive owns."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, islice, takewhile

from actions_cache import archives, events
from actions_cache.archives import ClaimMerge, Manifests, RemoveBroken, RemoveEntry, pages, transition
from actions_cache.domain import claim
from actions_cache.domain.archive import (
    Archive,
    ArchiveState,
    Manifest,
    Part,
    Walk,
    closed,
    deleted,
    interrupted,
    looked,
    postponed,
    swept,
)
from actions_cache.domain.cleanup_schedule import (
    CleanupTask,
    discarded_bytes,
    is_too_much,
    kept_keys,
    needs_parts,
    next_task,
)
from actions_cache.domain.errors import TryAgain
from actions_cache.domain.object_keys import ArchiveKeys, is_part_key
from actions_cache.domain.timing import SECOND, Lifetimes, Millis
from actions_cache.events import RunEnd, about
from actions_cache.ports import (
    Bucket,
    Clock,
    ObjectGone,
    Table,
    Telemetry,
    TokenSource,
    Unavailable,
    WriteConflict,
    WrongBytes,
)

POSTPONED_FOR: Millis = 600 * SECOND
"""An archive that cleanup failed on waits this long, lest it keep the others waiting at every run."""

MAX_TASKS = 10
"""Of one archive in one run. Its whole life has fewer, so more means that one of them changes nothing."""

DEADLINE_MARGIN: Millis = 15 * SECOND
"""Time for one duty, or one page of a longer one, on a bad day of S3's."""

SLICE: Millis = SECOND
"""Time of one archive before the next one's turn: two pages or so. Longer: fewer writes; shorter: others wait less."""


@dataclass(frozen=True, slots=True)
class CleanUp:
    table: Table
    bucket: Bucket
    manifests: Manifests
    clock: Clock
    claim_merge: ClaimMerge
    remove_entry: RemoveEntry
    remove_broken: RemoveBroken
    lifetimes: Lifetimes
    max_attempts: int
    merges_at_finalize: bool
    open_upload_bytes: int | None
    telemetry: Telemetry

    def __call__(self, remaining: Callable[[], Millis]) -> Counter[str]:
        """Does what is due. What it leaves, the next run finds: each archive's due time stands in the table.

        Returns: how often each duty was done, and how many archives it failed on.
        """
        done: Counter[str] = Counter()
        unfinished: deque[str] = deque()
        for archive_id in self._turns(unfinished):
            if remaining() < DEADLINE_MARGIN:
                done["left for the next run"] += 1
                break
            try:
                if not self._do_tasks(archive_id, done, remaining):
                    unfinished.append(archive_id)
            except Exception as error:  # noqa: BLE001 - told, with where it came from; the others still get their turn
                self.telemetry.emit(events.task_failed(archive_id, error))
                done["failed"] += 1
                self._postpone(archive_id)
        return done

    def _turns(self, unfinished: deque[str]) -> Iterator[str]:
        """Yield everything that is due; then, while there is time, what needs more than one slice of it."""
        yield from self.table.due_archives(self.clock.now())
        while unfinished:
            yield unfinished.popleft()

    def _do_tasks(self, archive_id: str, done: Counter[str], remaining: Callable[[], Millis]) -> bool:
        """Do an archive's duties.

        Each makes the next one due at another time; a lost write means that others took over.

        Returns:
            Whether the archive is done with, rather than out of its slice of the time.
        """
        until = max(remaining() - SLICE, DEADLINE_MARGIN)
        for _ in range(MAX_TASKS):
            archive = self.table.archive(archive_id)
            if archive is None or remaining() < DEADLINE_MARGIN:
                return True
            due_at, task = next_task(archive, self.lifetimes, merges_at_finalize=self.merges_at_finalize)
            if due_at > self.clock.now():
                return True
            try:
                if not self._do(task, archive, lambda: remaining() > until):
                    return False
            except WriteConflict:
                continue
            done[task] += 1
            self.telemetry.emit(events.task_done(archive, task))
        raise RuntimeError(f"{archive_id} stays due after {MAX_TASKS} duties")

    def _do(self, task: CleanupTask, archive: Archive, is_time_left: Callable[[], bool]) -> bool:
        """Do one duty.

        Returns:
            Whether it is done; otherwise the next turn goes on with it.
        """
        match task:
            case CleanupTask.LOOK_AT_UPLOAD:
                return self._look_at_upload(archive, is_time_left)
            case CleanupTask.DROP_RESERVATION:
                self._drop_reservation(archive)
            case CleanupTask.RETAKE_CLAIM:
                self._retake_claim(archive)
            case CleanupTask.SWEEP:
                return self._sweep(archive, is_time_left)
            case CleanupTask.EXPIRE_ENTRY:
                self.remove_entry(archive.id, lambda current: current.last_used_at == archive.last_used_at)
            case CleanupTask.FORGET:
                self.table.forget_archive(archive)
        return True

    def _look_at_upload(self, archive: Archive, is_time_left: Callable[[], bool]) -> bool:
        """Close the upload if more has arrived than it may have. If the run is killed, the next look finds the same."""
        now = self.clock.now()
        updated = looked(archive, now)
        if updated is None:
            return True
        walk, looked_before = archive.walk or Walk(now), archive.looked_at
        archive = self.table.replace_archive(archive, updated)
        for page in pages(self.bucket, ArchiveKeys(archive.id).parts_prefix, walk.after):
            walk = _walked(walk, page, page)
            if is_too_much(walk, self.open_upload_bytes):
                self._close(archive, walk)
                return True
            if len(page) == archives.PAGE and not is_time_left():
                updated = interrupted(archive, walk, self.clock.now(), looked_before)
                self.table.replace_archive(archive, updated)
                return False
        return True

    def _close(self, archive: Archive, walk: Walk) -> None:
        """Close an upload. As for an expired reservation, the tombstone decides against a concurrent Finalize."""
        updated = closed(archive, self.clock.now())
        if updated is not None:
            self.table.replace_archive(archive, updated)
            self.table.drop_reservation(archive.reservation)
            self.telemetry.emit(events.upload_closed(updated, walk))

    def _drop_reservation(self, archive: Archive) -> None:
        """The tombstone decides against a Finalize in the same moment; the reservation only holds the key."""
        updated = deleted(archive, self.clock.now())
        if updated is not None:
            self.table.replace_archive(archive, updated)
        self.table.drop_reservation(archive.reservation)

    def _retake_claim(self, archive: Archive) -> None:
        given_up = claim.given_up(archive, self.clock.now(), self.lifetimes, self.max_attempts)
        if given_up is not None:
            self.table.replace_archive(archive, given_up)
            self.telemetry.emit(events.merge_ended(about(archive), RunEnd.GIVEN_UP))
            return
        self.claim_merge(archive.id)

    def _sweep(self, current: Archive, is_time_left: Callable[[], bool]) -> bool:
        """Delete the archive's orphans. Lists a page first and reads the archive after: see kept_keys.

        If a run dies in the midst of it, for whatever reason, the next run serves others first.
        """
        now = self.clock.now()
        walk = current.walk or Walk(now)
        self.table.replace_archive(current, postponed(current, now + POSTPONED_FOR))
        manifest: Manifest | None = None
        for page in pages(self.bucket, ArchiveKeys(current.id).prefix, walk.after):
            archive = self.table.archive(current.id)
            if archive is None:
                return True
            if manifest is None and needs_parts(archive, walk.began_at, self.lifetimes):
                manifest = self._manifest(archive)
                if manifest is None:
                    # What to keep is unknown; everything goes once the archive's own time is over.
                    break
            kept = kept_keys(archive, manifest, walk.began_at, self.lifetimes)
            orphans = [part for part in page if part.key not in kept]
            self.bucket.delete([part.key for part in orphans])
            walk = _walked(walk, page, orphans)
            if len(page) == archives.PAGE and not is_time_left():
                self._interrupt(current, walk)
                return False
        self._end_sweep(current, walk)
        return True

    def _manifest(self, archive: Archive) -> Manifest | None:
        """Return the manifest; None if it is gone or unreadable, since then nobody can read the parts either.

        Raises:
            ObjectGone: the bucket doesn't confirm that.
        """
        try:
            return self.manifests.of(archive)
        except ObjectGone as gone:
            is_needed = archive.is_stored and archive.object is None
            if is_needed and not self.remove_broken(archive, gone):
                raise
        except WrongBytes as error:
            self.telemetry.emit(events.task_failed(archive.id, error))
        return None

    def _interrupt(self, current: Archive, walk: Walk) -> None:
        """Record an interrupted pass, unless the archive has changed its state: then its next sweep begins again."""
        transition(
            self.table,
            current.id,
            lambda now: interrupted(now, walk, self.clock.now(), now.looked_at) if now.state is current.state else None,
        )

    def _end_sweep(self, current: Archive, walk: Walk) -> None:
        updated = transition(self.table, current.id, lambda now: swept(now, walk.began_at))
        if updated is not None and updated.state is ArchiveState.DELETED:
            self.table.drop_reservation(updated.reservation)
        if discarded := discarded_bytes(current, walk.bytes, walk.began_at, self.lifetimes):
            self.telemetry.emit(events.bytes_discarded(about(current), discarded))

    def _postpone(self, archive_id: str) -> None:
        # If the table refuses the write, the archive is due again at the next run; the others still get their turn.
        with suppress(Unavailable, TryAgain):
            transition(self.table, archive_id, lambda current: postponed(current, self.clock.now() + POSTPONED_FOR))


def _walked(walk: Walk, page: list[Part], counted: list[Part]) -> Walk:
    """Return the pass after a page.

    Args:
        walk: the pass so far.
        page: the objects that it saw.
        counted: objects of the page to count; only parts count by their bytes.
    """
    size = sum(part.size for part in counted if is_part_key(part.key))
    return replace(walk, after=page[-1].key, objects=walk.objects + len(counted), bytes=walk.bytes + size)


BATCH = 100
"""BatchGetItem takes so many keys."""

ORPHANS_DEADLINE_MARGIN: Millis = 15 * SECOND
"""Time of one page on a bad day of S3's."""

ORPHANS_SLICE: Millis = 10 * SECOND
"""Time of one archive before the next one's turn; the rest of it follows once all had theirs."""


@dataclass(frozen=True, slots=True)
class FindOrphans:
    table: Table
    bucket: Bucket
    tokens: TokenSource
    telemetry: Telemetry

    def __call__(self, remaining: Callable[[], Millis]) -> Counter[str]:
        """Deletes what no archive of the table owns.

        Ids are random, and so is the one it begins with: a bucket too large for one run is seen whole over several.

        Returns: how many archives it saw, of how many that nobody knows it deleted the objects, and on how many it
            failed.

        Raises: Unavailable: the listing ended halfway.
        """
        try:
            return self._find(remaining)
        except Exception as error:
            self.telemetry.emit(events.orphans_remain(error))
            raise

    def _find(self, remaining: Callable[[], Millis]) -> Counter[str]:
        done: Counter[str] = Counter()
        unfinished: deque[tuple[str, bool]] = deque()
        for archive_id, is_known in chain(self.archives(), _taken_from(unfinished)):
            if remaining() < ORPHANS_DEADLINE_MARGIN:
                done["left for another run"] += 1
                break
            done["archives seen"] += 1
            try:
                deletes = not is_known and self._delete_in(remaining, archive_id, unfinished)
                done["orphaned archives deleted"] += deletes
            except Unavailable as error:
                self.telemetry.emit(events.orphans_remain(error, archive_id))
                done["failed"] += 1
        return done

    def _delete_in(self, remaining: Callable[[], Millis], archive_id: str, unfinished: deque[tuple[str, bool]]) -> bool:
        """Delete page by page within the archive's slice. Return whether there was anything, and none is left."""
        until = max(remaining() - ORPHANS_SLICE, ORPHANS_DEADLINE_MARGIN)
        there_was_any = False
        for page in self.objects(archive_id):
            there_was_any |= self.delete(archive_id, page)
            if len(page) == archives.PAGE and remaining() < until:
                unfinished.append((archive_id, False))
                return False
        return there_was_any

    def archives(self) -> Iterator[tuple[str, bool]]:
        """Each id that objects stand under, and whether the table knows it.

        The bucket is asked first, so that what the table doesn't know then is an orphan for good.
        """
        for ids in _batches(self._ids()):
            known = self.table.known_archives(ids)
            yield from ((archive_id, archive_id in known) for archive_id in ids)

    def _ids(self) -> Iterator[str]:
        """All of them, from a random one on, round to it."""
        first = self.tokens.new()
        before = takewhile(lambda archive_id: archive_id <= first, self.bucket.archive_ids(""))
        return chain(self.bucket.archive_ids(first), before)

    def objects(self, archive_id: str) -> Iterator[list[Part]]:
        """Yield pages of objects. There may be none: SeaweedFS goes on listing empty folders."""
        return pages(self.bucket, ArchiveKeys(archive_id).prefix)

    def delete(self, archive_id: str, page: Sequence[Part]) -> bool:
        """Delete a page, and return whether there was anything."""
        self.bucket.delete([part.key for part in page])
        for event in events.orphans_deleted(archive_id, page) if page else ():
            self.telemetry.emit(event)
        return bool(page)


def _taken_from(waiting: deque[tuple[str, bool]]) -> Iterator[tuple[str, bool]]:
    while waiting:
        yield waiting.popleft()


def _batches(ids: Iterable[str]) -> Iterator[list[str]]:
    source = iter(ids)
    while batch := list(islice(source, BATCH)):
        yield batch
