"""Do the cleanup tasks of many archives together: one read, one deletion or one transaction for a batch of them.

Only what is done alike for each is done here: small sweeps, expired entries, and the end of a tombstone. All else, and
whatever fails here, is left to cleanup.py, which does one archive's tasks after the other.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from actions_cache import archives, events
from actions_cache.archives import AbortLeftUploads, Manifests, pages
from actions_cache.domain.archive import Archive, ArchiveState, Part, deleted, swept
from actions_cache.domain.cleanup_schedule import (
    CleanupTask,
    discarded_bytes,
    kept_keys,
    may_have_left_an_upload,
    needs_parts,
    next_task,
)
from actions_cache.domain.object_keys import ArchiveKeys, is_part_key
from actions_cache.domain.timing import SECOND, Lifetimes, Millis
from actions_cache.events import about
from actions_cache.ports import REMOVED_AT_ONCE, Bucket, Clock, MultipartUpload, Table, Telemetry

BATCH = 100
"""Archives that are done together, which is what one BatchGetItem takes. Fewer: more requests."""

DEADLINE_MARGIN: Millis = 15 * SECOND
"""Time that one task, or one page of a longer task or of orphans, takes at worst. More: less of each run is used. Less:
the function's timeout may end a run in the middle of it."""

TimeLeft = Callable[[], Millis]
"""Returns how much time the run still has."""

T = TypeVar("T")
ResultT = TypeVar("ResultT")


def batches(items: Iterable[T], size: int = BATCH) -> Iterator[list[T]]:
    """Yield the items in lists of this size; the last one may be shorter."""
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch


def abort_uploads(bucket: Bucket, abort_left_uploads: AbortLeftUploads, archive: Archive) -> None:
    """Abort a swept archive's multipart uploads, which most don't have.

    These are what dead runs of its merge left, and the direct upload of an archive that was saved another way, or whose
    client died.
    """
    if archive.direct is not None:
        bucket.abort_upload(MultipartUpload.of(archive.direct))
    if may_have_left_an_upload(archive):
        abort_left_uploads(archive.id)


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Makes calls side by side, as long as the run has time to begin one."""

    executor: Executor
    remaining: TimeLeft

    def __call__(
        self, call: Callable[[T], ResultT], items: Iterable[T]
    ) -> tuple[list[tuple[T, ResultT]], list[tuple[T, Exception]]]:
        """Call for each item.

        Returns:
            The items with their results, and those that failed with the error. What there was no time for is neither.
        """

        def attempt(item: T) -> tuple[T, ResultT | None, Exception | None] | None:
            if self.remaining() < DEADLINE_MARGIN:
                return None
            try:
                return item, call(item), None
            except Exception as error:  # noqa: BLE001 - returned to the caller
                return item, None, error

        attempts = [made for made in self.executor.map(attempt, items) if made is not None]
        done = [(item, result) for item, result, error in attempts if error is None]
        return done, [(item, error) for item, _, error in attempts if error is not None]  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Sweep:
    """One archive's sweep: what is known of it when its objects are deleted.

    Args:
        archive: the archive as read after its objects were listed.
        orphans: its objects that nobody needs.
    """

    archive: Archive
    orphans: Sequence[Part]


@dataclass
class _Turn:
    """One batch's turn."""

    side_by_side: SideBySide
    now: Millis
    done: Counter[str] = field(default_factory=Counter)
    alone: list[str] = field(default_factory=list)
    """Ids of archives that are to be done one by one."""


@dataclass(frozen=True, slots=True)
class CleanUpBatch:
    """Does the tasks that many archives have alike."""

    table: Table
    bucket: Bucket
    manifests: Manifests
    abort_left_uploads: AbortLeftUploads
    clock: Clock
    executor: Executor
    lifetimes: Lifetimes
    merges_at_finalize: bool
    telemetry: Telemetry

    def __call__(self, ids: Sequence[str], remaining: TimeLeft) -> tuple[Counter[str], Sequence[str]]:
        """Do the due tasks of a batch.

        Args:
            ids: at most BATCH archives.
            remaining: returns how much time the run has.

        Returns:
            How often each task was done, and the ids of those that are to be done one by one.
        """
        turn = _Turn(SideBySide(self.executor, remaining), self.clock.now())
        tasks = {archive: self._due(archive, turn.now) for archive in self.table.archives(ids).values()}
        self._expire([archive for archive, task in tasks.items() if task is CleanupTask.EXPIRE_ENTRY], turn)
        self._sweep([archive for archive, task in tasks.items() if task is CleanupTask.SWEEP], turn)
        together = {None, CleanupTask.EXPIRE_ENTRY, CleanupTask.SWEEP}
        turn.alone.extend(archive.id for archive, task in tasks.items() if task not in together)
        return turn.done, turn.alone

    def _due(self, archive: Archive, now: Millis) -> CleanupTask | None:
        due_at, task = next_task(archive, self.lifetimes, merges_at_finalize=self.merges_at_finalize)
        return task if due_at <= now else None

    def _note(self, archive: Archive, task: CleanupTask, turn: _Turn) -> None:
        turn.done[task] += 1
        self.telemetry.emit(events.task_done(archive, task))

    # ---------------------------------------------------------------- entries

    def _expire(self, expired: Sequence[Archive], turn: _Turn) -> None:
        """Remove entries, each of which still has the last use that made it expire, or its write loses."""

        def remove(batch: Sequence[tuple[Archive, Archive]]) -> None:
            self.table.remove_entries(batch)

        removals = [(archive, tombstone) for archive in expired if (tombstone := deleted(archive, turn.now))]
        removed, failed = turn.side_by_side(remove, batches(removals, REMOVED_AT_ONCE))
        for archive, tombstone in (removal for batch, _ in removed for removal in batch):
            self.telemetry.emit(events.entry_removed(tombstone))
            self._note(archive, CleanupTask.EXPIRE_ENTRY, turn)
        turn.alone.extend(archive.id for batch, _ in failed for archive, _ in batch)

    # ---------------------------------------------------------------- sweeps

    def _sweep(self, due: Sequence[Archive], turn: _Turn) -> None:
        """Sweep each archive that has less than a page of objects. Each is listed before it is read: see kept_keys."""
        began_at = turn.now
        starting = [archive for archive in due if archive.walk is None]
        listed, failed = turn.side_by_side(self._first_page, starting)
        turn.alone.extend(archive.id for archive, _ in failed)
        turn.alone.extend(archive.id for archive in due if archive.walk is not None)
        small = {archive.id: page for archive, page in listed if len(page) < archives.PAGE}
        turn.alone.extend(archive.id for archive, _ in listed if archive.id not in small)
        current = self.table.archives([*small]).values() if small else ()
        still_due = [archive for archive in current if self._due(archive, began_at) is CleanupTask.SWEEP]
        sweeps = self._orphans_of(still_due, small, began_at, turn)
        self._end(self._deleted(sweeps, turn), began_at, turn)

    def _first_page(self, archive: Archive) -> list[Part]:
        abort_uploads(self.bucket, self.abort_left_uploads, archive)
        return next(pages(self.bucket, ArchiveKeys(archive.id).prefix), [])

    def _orphans_of(
        self, current: Collection[Archive], objects: Mapping[str, list[Part]], began_at: Millis, turn: _Turn
    ) -> Iterator[Sweep]:
        """Yield sweeps, with manifests read side by side where parts are still needed."""
        readable = {archive for archive in current if needs_parts(archive, began_at, self.lifetimes)}
        read, failed = turn.side_by_side(self.manifests.of, readable)
        turn.alone.extend(archive.id for archive, _ in failed)
        manifests = {archive.id: manifest for archive, manifest in read}
        for archive in current:
            if archive in readable and archive.id not in manifests:
                continue
            kept = kept_keys(archive, manifests.get(archive.id), began_at, self.lifetimes)
            yield Sweep(archive, [part for part in objects[archive.id] if part.key not in kept])

    def _deleted(self, sweeps: Iterable[Sweep], turn: _Turn) -> Iterator[Sweep]:
        """Yield the sweeps whose orphans are deleted, a page of them in one request."""

        def delete(full: Sequence[Sweep]) -> None:
            self.bucket.delete([part.key for sweep in full for part in sweep.orphans])

        done, failed = turn.side_by_side(delete, _pages_of(sweeps))
        turn.alone.extend(sweep.archive.id for full, _ in failed for sweep in full)
        yield from (sweep for full, _ in done for sweep in full)

    def _end(self, sweeps: Iterable[Sweep], began_at: Millis, turn: _Turn) -> None:
        """Write that the sweeps are complete, or forget the archives that have nothing else left to do."""

        def end(sweep: Sweep) -> CleanupTask | None:
            archive, updated = sweep.archive, swept(sweep.archive, began_at)
            if archive.state is ArchiveState.DELETED and not archive.was_visible:
                # Publishing an entry deletes its reservation; nothing else surely did.
                self.table.drop_reservation(archive.reservation)
            following = self._due(updated, self.clock.now())
            if following is CleanupTask.FORGET:
                self.table.forget_archive(archive)
            else:
                self.table.replace_archive(archive, updated)
            return following

        ended, failed = turn.side_by_side(end, sweeps)
        turn.alone.extend(sweep.archive.id for sweep, _ in failed)
        for sweep, following in ended:
            size = sum(part.size for part in sweep.orphans if is_part_key(part.key))
            if discarded := discarded_bytes(sweep.archive, size, began_at, self.lifetimes):
                self.telemetry.emit(events.bytes_discarded(about(sweep.archive), discarded))
            self._note(sweep.archive, CleanupTask.SWEEP, turn)
            if following is CleanupTask.FORGET:
                self._note(sweep.archive, CleanupTask.FORGET, turn)
            elif following is not None:
                turn.alone.append(sweep.archive.id)


def _pages_of(sweeps: Iterable[Sweep]) -> Iterator[list[Sweep]]:
    """Yield sweeps that together have at most a page of orphans, and so take one request to delete them."""
    waiting: deque[Sweep] = deque(sweeps)
    while waiting:
        full, count = [waiting.popleft()], 0
        count = len(full[0].orphans)
        while waiting and count + len(waiting[0].orphans) <= archives.PAGE:
            count += len(waiting[0].orphans)
            full.append(waiting.popleft())
        yield full
