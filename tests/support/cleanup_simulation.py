"""Simulates cleanup of any number of objects: keys are made up, and each call takes its usual time."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Any, cast

from actions_cache import archives
from actions_cache.cleanup import CleanUp
from actions_cache.cleanup_batch import CleanUpBatch
from actions_cache.domain.archive import Archive, ArchiveState, Manifest, Part
from actions_cache.domain.cleanup_schedule import next_task
from actions_cache.domain.entry import Reservation
from actions_cache.domain.timing import SECOND, Millis
from actions_cache.ports import WriteConflict
from dev.clients.driver import SetClock
from tests.support.fakes import RecordingTelemetry
from tests.unit.domain.build import LIFETIMES

LIST_PAGE: Millis = 150
DELETE_PAGE: Millis = 400
TABLE_CALL: Millis = 5


class Crashed(BaseException):
    """Stands for Lambda's end of the process: no `except Exception` sees it."""


@dataclass
class Calls:
    """Counts all calls: each takes time, and one may be the process's last."""

    clock: SetClock
    timeout_at: Millis | None = None
    count: int = 0
    crashes_at: int | None = None
    """Number of the last call, from 1."""
    takes_effect: bool = False
    """True if the last call takes effect."""

    def begin(self, takes: Millis) -> None:
        self.count += 1
        self.clock.at += takes
        if self.timeout_at is not None and self.clock.at > self.timeout_at:
            raise Crashed
        if self.count == self.crashes_at and not self.takes_effect:
            raise Crashed

    def end(self) -> None:
        if self.count == self.crashes_at and self.takes_effect:
            raise Crashed


@dataclass
class ArchiveObjects:
    """Numbers the objects of one archive: its manifest has the first `kept` ones, the others are orphans."""

    count: int
    kept: int = 0
    size: int = 0
    gone: int = 0
    """Number of orphans deleted so far."""

    def number_after(self, number: int) -> int | None:
        number = number + 1 if number + 1 < self.kept else max(number + 1, self.kept + self.gone)
        return number if number < self.count else None


@dataclass
class FakeBucket:
    calls: Calls
    objects: dict[str, ArchiveObjects] = field(default_factory=dict)

    def list(self, prefix: str, after: str = "") -> Iterator[Part]:
        archive_id = prefix.split("/")[1]
        objects = self.objects.get(archive_id) or ArchiveObjects(0)
        number = objects.number_after(_number(after) if after else -1)
        listed = 0
        while True:
            if listed % archives.PAGE == 0:
                self.calls.begin(LIST_PAGE)
                self.calls.end()
            if number is None:
                return
            yield Part(_key(archive_id, number), objects.size, '"e"')
            listed += 1
            number = objects.number_after(number)

    def delete(self, keys: Sequence[str]) -> None:
        if not keys:
            return
        self.calls.begin(DELETE_PAGE)
        for key in keys:
            objects, number = self.objects[key.split("/")[1]], _number(key)
            assert number >= objects.kept, "deleted under a reader"
            # A later run doesn't list what a killed run deleted, so each deletes from the first one on.
            assert number == objects.kept + objects.gone
            objects.gone += 1
        self.calls.end()

    def left(self) -> int:
        return sum(objects.count - objects.kept - objects.gone for objects in self.objects.values())


@dataclass
class FakeTable:
    calls: Calls
    rows: dict[str, Archive] = field(default_factory=dict)
    reservations: set[str] = field(default_factory=set)
    noted: frozenset[str] = frozenset()

    def archive(self, archive_id: str) -> Archive | None:
        self.calls.begin(TABLE_CALL)
        self.calls.end()
        return self.rows.get(archive_id)

    def archives(self, ids: Sequence[str]) -> dict[str, Archive]:
        self.calls.begin(TABLE_CALL)
        self.calls.end()
        return {archive_id: self.rows[archive_id] for archive_id in ids if archive_id in self.rows}

    def note_batch(self, ids: Sequence[str]) -> None:
        self.calls.begin(TABLE_CALL)
        self.noted = frozenset(ids)
        self.calls.end()

    def noted_batch(self) -> frozenset[str]:
        self.calls.begin(TABLE_CALL)
        self.calls.end()
        return self.noted

    def replace_archive(self, seen: Archive, by: Archive) -> Archive:
        self.calls.begin(TABLE_CALL)
        if self.rows.get(seen.id) != seen:
            raise WriteConflict
        self.rows[seen.id] = replace(by, revision=seen.revision + 1)
        self.calls.end()
        return self.rows[seen.id]

    def due_archives(self, now: Millis) -> Iterator[str]:
        for shard in random.sample("0123456789abcdef", 16):
            self.calls.begin(TABLE_CALL)
            self.calls.end()
            due = [
                (due_at(archive), archive.id)
                for archive in self.rows.values()
                if archive.id[0] == shard and due_at(archive) <= now
            ]
            yield from (archive_id for _, archive_id in sorted(due))

    def remove_entries(self, removals: Sequence[tuple[Archive, Archive]]) -> None:
        self.calls.begin(TABLE_CALL)
        if any(self.rows.get(seen.id) != seen for seen, _ in removals):
            raise WriteConflict
        self.rows |= {by.id: replace(by, revision=by.revision + 1) for _, by in removals}
        self.calls.end()

    def drop_reservation(self, reservation: Reservation) -> None:
        self.calls.begin(TABLE_CALL)
        self.reservations.discard(reservation.archive_id)
        self.calls.end()

    def forget_archive(self, seen: Archive) -> None:
        self.calls.begin(TABLE_CALL)
        if self.rows.get(seen.id) != seen:
            raise WriteConflict
        del self.rows[seen.id]
        self.calls.end()


def due_at(archive: Archive) -> Millis:
    return next_task(archive, LIFETIMES, merges_at_finalize=False)[0]


@dataclass
class FakeManifests:
    bucket: FakeBucket

    def of(self, archive: Archive) -> Manifest:
        self.bucket.calls.begin(10 * TABLE_CALL)
        self.bucket.calls.end()
        kept = self.bucket.objects[archive.id].kept
        return Manifest(tuple(Part(_key(archive.id, number), 0, '"e"') for number in range(kept)))


class OneByOne(Executor):
    """Makes calls in this thread, so that each has its place among them."""

    def map(self, fn: Callable[..., Any], *iterables: Iterable[Any], **_: Any) -> Iterator[Any]:
        return iter([*map(fn, *iterables)])


@dataclass
class CleanupSimulation:
    """Cleanup on a fake bucket and table, whose calls take time but nothing else."""

    clock: SetClock = field(default_factory=SetClock)
    telemetry: RecordingTelemetry = field(default_factory=RecordingTelemetry)
    open_upload_bytes: int | None = None
    executor: Executor = field(default_factory=OneByOne)

    def __post_init__(self) -> None:
        self.calls = Calls(self.clock)
        self.bucket, self.table = FakeBucket(self.calls), FakeTable(self.calls)
        unused = cast("Any", None)
        table, bucket, manifests = (cast("Any", it) for it in (self.table, self.bucket, FakeManifests(self.bucket)))
        together = CleanUpBatch(
            table,
            bucket,
            manifests,
            unused,
            self.clock,
            self.executor,
            LIFETIMES,
            merges_at_finalize=False,
            telemetry=self.telemetry,
        )
        self.clean_up = CleanUp(
            together,
            table,
            bucket,
            manifests,
            self.clock,
            self.executor,
            unused,
            unused,
            unused,
            unused,
            LIFETIMES,
            max_attempts=5,
            merges_at_finalize=False,
            open_upload_bytes=self.open_upload_bytes,
            telemetry=self.telemetry,
        )

    def add(self, archive: Archive, objects: ArchiveObjects) -> None:
        self.table.rows[archive.id] = archive
        self.bucket.objects[archive.id] = objects
        if archive.state is ArchiveState.RESERVED:
            self.table.reservations.add(archive.id)

    def remaining_of(self, seconds: int) -> Any:
        until = self.clock.at + seconds * SECOND
        return lambda: until - self.clock.at


def _key(archive_id: str, number: int) -> str:
    return f"archives/{archive_id}/parts/blocks/{number:08d}/1"


def _number(key: str) -> int:
    return int(key.split("/")[4])
