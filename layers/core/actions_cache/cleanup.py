"""Clean up on a schedule: do what is due for each archive, and delete objects that no archive owns."""

import secrets
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, takewhile
from typing import TypeVar

from actions_cache import archives, events
from actions_cache.archives import AbortLeftUploads, ClaimMerge, Manifests, RemoveBroken, RemoveEntry, pages, transition
from actions_cache.cleanup_batch import DEADLINE_MARGIN, CleanUpBatch, SideBySide, TimeLeft, abort_uploads, batches
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
    may_complete,
    needs_parts,
    next_task,
)
from actions_cache.domain.errors import TryAgain
from actions_cache.domain.object_keys import ROOT, ArchiveKeys, archive_of_key, is_part_key
from actions_cache.domain.timing import SECOND, Lifetimes, Millis
from actions_cache.events import RunEnd, about
from actions_cache.ports import (
    Bucket,
    Clock,
    MultipartUpload,
    ObjectGone,
    Repositories,
    Table,
    Telemetry,
    TokenSource,
    Unavailable,
    WriteConflict,
    WrongBytes,
)
from actions_cache.usage import PublishCost, ReconcileUsage

POSTPONED_FOR: Millis = 600 * SECOND
"""Time that an archive waits after cleanup failed on it. Longer: what is due there waits. Shorter: it keeps others
waiting at every run."""

MAX_TASKS = 10
"""Number of tasks that one run does for one archive. Its whole life has fewer, so more means that one of them changes
nothing."""

LEFT = "left for the next run"
"""Counted by a run whose time was over before, or just as, the last due task was done."""

TASK_SLICE: Millis = SECOND
"""Time that one archive's tasks may take before the next archive's turn: two pages or so. Longer: fewer writes.
Shorter: others wait less."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CleanUp:
    """Does the tasks that are due for each archive."""

    clean_up_batch: CleanUpBatch
    table: Table
    bucket: Bucket
    manifests: Manifests
    clock: Clock
    executor: Executor
    claim_merge: ClaimMerge
    remove_entry: RemoveEntry
    remove_broken: RemoveBroken
    abort_left_uploads: AbortLeftUploads
    lifetimes: Lifetimes
    max_attempts: int
    merges_at_finalize: bool
    open_upload_bytes: int | None
    telemetry: Telemetry

    def __call__(self, remaining: TimeLeft) -> Counter[str]:
        """Do the tasks that are due. The next run finds the others, since the table has each archive's due time.

        Returns:
            How often each task was done, and how many archives it failed on.
        """
        done: Counter[str] = Counter()
        # One of these may have killed the run that noted them. Now each is postponed before its sweep.
        suspects = self.table.noted_batch()
        unfinished: deque[str] = deque()
        notes_any, any_due = bool(suspects), False
        for ids in batches(self.table.due_archives(self.clock.now())):
            any_due = True
            if remaining() < DEADLINE_MARGIN:
                break
            alone = [archive_id for archive_id in ids if archive_id in suspects]
            together = [archive_id for archive_id in ids if archive_id not in suspects]
            if together:
                notes_any = True
                done_together, rest = self._do_together(together, remaining)
                done += done_together
                alone.extend(rest)
            done += self._do_alone(alone, remaining, unfinished)
        # Those that need more than one slice of the time get another turn after all that are due.
        while unfinished and remaining() >= DEADLINE_MARGIN:
            turn = [*unfinished]
            unfinished.clear()
            done += self._do_alone(turn, remaining, unfinished)
        if notes_any:
            with suppress(Unavailable):
                self.table.note_batch([])
        if any_due and remaining() < DEADLINE_MARGIN:
            done[LEFT] += 1
        return done

    def _do_together(self, ids: Sequence[str], remaining: TimeLeft) -> tuple[Counter[str], Sequence[str]]:
        try:
            self.table.note_batch(ids)
            return self.clean_up_batch(ids, remaining)
        except Exception:  # noqa: BLE001 - done one by one, each shows its own error
            return Counter(), ids

    def _do_alone(self, ids: Sequence[str], remaining: TimeLeft, unfinished: deque[str]) -> Counter[str]:
        """Do the tasks of these archives side by side. Those that need another turn are added to `unfinished`."""
        turns, failed = SideBySide(self.executor, remaining)(lambda each: self._do_tasks(each, remaining), ids)
        done = sum((done for _, (done, _) in turns), Counter())
        unfinished.extend(archive_id for archive_id, (_, is_finished) in turns if not is_finished)
        for archive_id, error in failed:
            self.telemetry.emit(events.task_failed(archive_id, error))
            done["failed"] += 1
        SideBySide(self.executor, remaining)(self._postpone, [archive_id for archive_id, _ in failed])
        return done

    def _do_tasks(self, archive_id: str, remaining: TimeLeft) -> tuple[Counter[str], bool]:
        """Do the tasks of one archive.

        Each task makes the next one due at another time. A lost write means that another run took over.

        Returns:
            How often each task was done, and False if the archive's slice of the time is over, so that it needs another
            turn.
        """
        done: Counter[str] = Counter()
        until = max(remaining() - TASK_SLICE, DEADLINE_MARGIN)
        for _ in range(MAX_TASKS):
            archive = self.table.archive(archive_id)
            if archive is None or remaining() < DEADLINE_MARGIN:
                return done, True
            due_at, task = next_task(archive, self.lifetimes, merges_at_finalize=self.merges_at_finalize)
            if due_at > self.clock.now():
                return done, True
            try:
                if not self._do(task, archive, lambda: remaining() > until):
                    return done, False
            except WriteConflict:
                continue
            done[task] += 1
            self.telemetry.emit(events.task_done(archive, task))
        raise RuntimeError(f"{archive_id} stays due after {MAX_TASKS} tasks")

    def _do(self, task: CleanupTask, archive: Archive, is_time_left: Callable[[], bool]) -> bool:
        """Do one task.

        Returns:
            False if the task was interrupted; the archive's next turn continues it.
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
        """Close the upload if more has arrived than it may have. If the run dies, the next look finds the same."""
        now = self.clock.now()
        updated = looked(archive, now)
        if updated is None:
            return True
        walk, looked_before = archive.walk or self._of_direct(archive, Walk(now)), archive.looked_at
        archive = self.table.replace_archive(archive, updated)
        if is_too_much(walk, self.open_upload_bytes):
            self._close(archive, walk)
            return True
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

    def _of_direct(self, archive: Archive, walk: Walk) -> Walk:
        """Return the pass with what has arrived in the archive's direct upload."""
        if archive.direct is None:
            return walk
        sent = self.bucket.sent_parts(MultipartUpload.of(archive.direct)) or ()
        return replace(walk, objects=len(sent), bytes=sum(part.size for part in sent))

    def _close(self, archive: Archive, walk: Walk) -> None:
        """Close the upload. Its tombstone makes a concurrent Finalize lose, as for an expired reservation."""
        updated = closed(archive, self.clock.now())
        if updated is not None:
            self.table.replace_archive(archive, updated)
            self.table.drop_reservation(archive.reservation)
            self.telemetry.emit(events.upload_closed(updated, walk))

    def _drop_reservation(self, archive: Archive) -> None:
        """Delete an expired reservation. The tombstone makes a concurrent Finalize lose; then the key is free."""
        updated = deleted(archive, self.clock.now())
        if updated is not None:
            self.table.replace_archive(archive, updated)
        self.table.drop_reservation(archive.reservation)

    def _retake_claim(self, archive: Archive) -> None:
        given_up = claim.given_up(archive, self.clock.now(), self.lifetimes, self.max_attempts)
        if given_up is not None:
            self.table.replace_archive(archive, given_up)
            self.abort_left_uploads(archive.id)
            self.telemetry.emit(events.merge_ended(about(archive), RunEnd.GIVEN_UP))
            return
        self.claim_merge(archive.id)

    def _sweep(self, current: Archive, is_time_left: Callable[[], bool]) -> bool:
        """Delete the archive's orphans. Each page is listed before the archive is read: see kept_keys.

        The archive is postponed first: if the run dies of it, the next run serves the others first.
        """
        now = self.clock.now()
        walk = current.walk or Walk(now)
        self.table.replace_archive(current, postponed(current, now + POSTPONED_FOR))
        abort_uploads(self.bucket, self.abort_left_uploads, current)
        manifest: Manifest | None = None
        for page in pages(self.bucket, ArchiveKeys(current.id).prefix, walk.after):
            archive = self.table.archive(current.id)
            if archive is None:
                return True
            if manifest is None and needs_parts(archive, walk.began_at, self.lifetimes):
                manifest = self._manifest(archive)
                if manifest is None:
                    # Nobody knows what to keep. Everything is deleted once the archive itself may go.
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
        """Return the manifest, or None if it is gone or unreadable: then nobody can read the parts either.

        Raises:
            ObjectGone: the manifest couldn't be read, but the bucket doesn't confirm that it is gone.
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
        """Record how far the pass came. If the archive changed its state meanwhile, its next sweep starts again."""
        transition(
            self.table,
            current.id,
            lambda now: interrupted(now, walk, self.clock.now(), now.looked_at) if now.state is current.state else None,
        )

    def _end_sweep(self, current: Archive, walk: Walk) -> None:
        """Record that the pass is complete, and emit how many bytes it deleted that no entry ever had."""
        updated = transition(self.table, current.id, lambda now: swept(now, walk.began_at))
        if updated is not None and updated.state is ArchiveState.DELETED:
            self.table.drop_reservation(updated.reservation)
        if discarded := discarded_bytes(current, walk.bytes, walk.began_at, self.lifetimes):
            self.telemetry.emit(events.bytes_discarded(about(current), discarded))

    def _postpone(self, archive_id: str) -> None:
        # Without this write the archive is only due again at the next run.
        with suppress(Unavailable, TryAgain):
            transition(self.table, archive_id, lambda current: postponed(current, self.clock.now() + POSTPONED_FOR))


def _walked(walk: Walk, page: list[Part], counted: list[Part]) -> Walk:
    """Return the pass after one more page.

    Args:
        walk: the pass so far.
        page: the page's objects.
        counted: those of them that count. Only parts add to the pass's bytes.
    """
    size = sum(part.size for part in counted if is_part_key(part.key))
    return replace(walk, after=page[-1].key, objects=walk.objects + len(counted), bytes=walk.bytes + size)


def _taken_from(unfinished: deque[T]) -> Iterator[T]:
    """Yield what is in the queue, and what is added to it meanwhile."""
    while unfinished:
        yield unfinished.popleft()


# ---------------------------------------------------------------- orphans

LOOKUP_BATCH = 100
"""Number of ids that are looked up in the table at once, which is what one BatchGetItem takes."""

ORPHAN_SLICE: Millis = 10 * SECOND
"""Time that one archive's orphans may take before the next archive's turn. Longer: others wait more. Shorter: very many
orphans are listed in more turns."""


UNKNOWN_FOR: Millis = 3600 * SECOND
"""Age from which an upload of an archive that the table doesn't know is aborted; a direct upload is started before its
archive is noted. Longer: what a process left that died in between is stored longer. Shorter: a difference between our
clock and S3's may abort one that is about to be noted."""


@dataclass(frozen=True, slots=True)
class FindOrphans:
    """Deletes the objects of archives that the table doesn't know, and aborts the uploads that no archive needs."""

    table: Table
    bucket: Bucket
    clock: Clock
    tokens: TokenSource
    telemetry: Telemetry

    def __call__(self, remaining: TimeLeft) -> Counter[str]:
        """Delete orphans, starting at a random id, so that several runs together see all of a large bucket.

        Returns:
            How many uploads it aborted, how many archives it saw, of how many it deleted the objects since the table
            doesn't know them, and how many it failed on.

        Raises:
            Unavailable: the listing broke off.
        """
        done: Counter[str] = Counter()
        try:
            self._abort_uploads(remaining, done)
            self._find(remaining, done)
        except Exception as error:
            self.telemetry.emit(events.orphans_remain(error))
            raise
        return done

    def _abort_uploads(self, remaining: TimeLeft, done: Counter[str]) -> None:
        """Abort uploads within a quarter of the time.

        They are listed before the table is read, so that an upload of another run than the archive's current one is
        never needed again.
        """
        until = remaining() * 3 // 4
        for found in batches(self.bucket.uploads(ROOT), LOOKUP_BATCH):
            if remaining() < until:
                break
            known = self.table.archives([*{archive_of_key(upload.key) for upload, _ in found}])
            for upload, started_at in found:
                archive = known.get(archive_of_key(upload.key))
                is_young = started_at + UNKNOWN_FOR > self.clock.now()
                if is_young if archive is None else may_complete(archive, upload.key):
                    continue
                self.bucket.abort_upload(upload)
                done["left uploads aborted"] += 1

    def _find(self, remaining: TimeLeft, done: Counter[str]) -> None:
        unfinished: deque[tuple[str, bool]] = deque()
        for archive_id, is_known in chain(self.archives_with_objects(), _taken_from(unfinished)):
            if remaining() < DEADLINE_MARGIN:
                done["left for another run"] += 1
                break
            done["archives seen"] += 1
            try:
                deletes = not is_known and self._delete_in(remaining, archive_id, unfinished)
                done["orphaned archives deleted"] += deletes
            except Unavailable as error:
                self.telemetry.emit(events.orphans_remain(error, archive_id))
                done["failed"] += 1

    def _delete_in(self, remaining: TimeLeft, archive_id: str, unfinished: deque[tuple[str, bool]]) -> bool:
        """Delete page by page within the archive's slice of the time.

        Returns:
            True if there were objects and none is left.
        """
        until = max(remaining() - ORPHAN_SLICE, DEADLINE_MARGIN)
        had_objects = False
        for page in self.objects(archive_id):
            had_objects |= self.delete(archive_id, page)
            if len(page) == archives.PAGE and remaining() < until:
                unfinished.append((archive_id, False))
                return False
        return had_objects

    def archives_with_objects(self) -> Iterator[tuple[str, bool]]:
        """Yield the id of each archive that has objects, and whether the table knows it.

        The bucket is listed before the table is read, so that an archive which the table doesn't know then is gone for
        good.
        """
        for ids in batches(self._ids(), LOOKUP_BATCH):
            known = self.table.known_archives(ids)
            yield from ((archive_id, archive_id in known) for archive_id in ids)

    def _ids(self) -> Iterator[str]:
        """Return all ids, from a random one to the last and on from the first."""
        start = self.tokens.new()
        before = takewhile(lambda archive_id: archive_id <= start, self.bucket.archive_ids(""))
        return chain(self.bucket.archive_ids(start), before)

    def objects(self, archive_id: str) -> Iterator[list[Part]]:
        """Yield pages of objects. There may be none: SeaweedFS goes on listing empty folders."""
        return pages(self.bucket, ArchiveKeys(archive_id).prefix)

    def delete(self, archive_id: str, page: Sequence[Part]) -> bool:
        """Delete a page of objects, and return whether it had any."""
        self.bucket.delete([part.key for part in page])
        for event in events.orphans_deleted(archive_id, page) if page else ():
            self.telemetry.emit(event)
        return bool(page)


# ---------------------------------------------------------------- runs


@dataclass(frozen=True, slots=True)
class RunCleanup:
    """Shares the time of the frequent run between its jobs, however much each of them finds to do.

    Args:
        clean_up: does the archives' tasks.
        evict: evicts entries while there is time, starting at a place among the repositories (Evict.everywhere).
        note_usages: notes what repositories keep, while there is time.
        migrate: rewrites what an older release wrote.
    """

    clean_up: Callable[[TimeLeft], Counter[str]]
    evict: Callable[[Callable[[], bool], float], int]
    note_usages: Callable[[Callable[[], bool]], int]
    migrate: Callable[[TimeLeft], Counter[str]]

    def __call__(self, remaining: TimeLeft) -> Counter[str]:
        """Clean up until two fifths of the time are left, evict until a quarter, note usages until a fifth, migrate.

        What the others leave of the time goes to the tasks that are still due.
        """
        available = remaining()
        done = self.clean_up(lambda: remaining() - available * 2 // 5)
        start = secrets.randbelow(1000) / 1000
        done["entries evicted"] += self.evict(lambda: remaining() > available // 4, start)
        done["usages noted"] += self.note_usages(lambda: remaining() > available // 5)
        done += self.migrate(remaining)
        return done + self.clean_up(remaining) if done.pop(LEFT, 0) else done


@dataclass(frozen=True, slots=True)
class Reconcile:
    """Shares the time of the rare run between correcting the usage, publishing the cost and finding orphans."""

    repositories: Repositories
    reconcile_usage: ReconcileUsage
    publish_cost: PublishCost
    find_orphans: FindOrphans

    def __call__(self, remaining: TimeLeft) -> Counter[str]:
        """Compare what is counted and stored with what the table knows. Orphans are found even if the rest fails."""
        corrected = 0
        try:
            corrected = self._correct_usage(remaining)
            self.publish_cost()
        finally:
            found = self.find_orphans(remaining)
        return found + Counter({"usages corrected": corrected})

    def _correct_usage(self, remaining: TimeLeft) -> int:
        """Correct the usage within half of the time, and return how many were wrong.

        It starts at a random repository, so that each has its turn within some runs.
        """
        until, ids = remaining() // 2, [*self.repositories.ids()]
        start = secrets.randbelow(len(ids) + 1)
        corrected = 0
        for repository_id in ids[start:] + ids[:start]:
            if remaining() < until:
                return corrected
            corrected += self.reconcile_usage(repository_id, lambda: remaining() > until)
        return corrected + self.reconcile_usage.store()
