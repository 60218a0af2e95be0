"""Builds a bucket with made-up keys, a table in memory, and time that passes with each call, for floods of any size."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from actions_cache import archives
from actions_cache.cleanup import CleanUp
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


class Killed(BaseException):
    """Stands for Lambda's end of the process: no `except Exception` sees it."""


@dataclass
class Line:
    """Counts all calls: each takes time, and one may be the process's last."""

    clock: SetClock
    killed_at: Millis | None = None
    calls: int = 0
    dies_at: int | None = None
    """Number of the last call, from 1."""
    after_it: bool = False
    """True if the last call takes effect."""

    def begin(self, takes: Millis) -> None:
        self.calls += 1
        self.clock.at += takes
        if self.killed_at is not None and self.clock.at > self.killed_at:
            raise Killed
        if self.calls == self.dies_at and not self.after_it:
            raise Killed

    def end(self) -> None:
        if self.calls == self.dies_at and self.after_it:
            raise Killed


@dataclass
class Heap:
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
class Bucket:
    line: Line
    heaps: dict[str, Heap] = field(default_factory=dict)

    def list(self, prefix: str, after: str = "") -> Iterator[Part]:
        archive_id = prefix.split("/")[1]
        heap = self.heaps.get(archive_id, Heap(0))
        number = heap.number_after(_number(after) if after else -1)
        listed = 0
        while True:
            if listed % archives.PAGE == 0:
                self.line.begin(LIST_PAGE)
                self.line.end()
            if number is None:
                return
            yield Part(_key(archive_id, number), heap.size, '"e"')
            listed += 1
            number = heap.number_after(number)

    def delete(self, keys: Sequence[str]) -> None:
        if not keys:
            return
        self.line.begin(DELETE_PAGE)
        for key in keys:
            heap, number = self.heaps[key.split("/")[1]], _number(key)
            assert number >= heap.kept, "deleted under a reader"
            # A later run doesn't list what a killed run deleted, so each deletes from the first one on.
            assert number == heap.kept + heap.gone
            heap.gone += 1
        self.line.end()

    def left(self) -> int:
        return sum(heap.count - heap.kept - heap.gone for heap in self.heaps.values())


@dataclass
class Table:
    line: Line
    rows: dict[str, Archive] = field(default_factory=dict)
    reservations: set[str] = field(default_factory=set)

    def archive(self, archive_id: str) -> Archive | None:
        self.line.begin(TABLE_CALL)
        self.line.end()
        return self.rows.get(archive_id)

    def replace_archive(self, seen: Archive, by: Archive) -> Archive:
        self.line.begin(TABLE_CALL)
        if self.rows.get(seen.id) != seen:
            raise WriteConflict
        self.rows[seen.id] = replace(by, revision=seen.revision + 1)
        self.line.end()
        return self.rows[seen.id]

    def due_archives(self, now: Millis) -> Iterator[str]:
        for shard in random.sample("0123456789abcdef", 16):
            self.line.begin(TABLE_CALL)
            self.line.end()
            due = [(due_at(it), it.id) for it in self.rows.values() if it.id[0] == shard and due_at(it) <= now]
            yield from (archive_id for _, archive_id in sorted(due))

    def drop_reservation(self, reservation: Reservation) -> None:
        self.line.begin(TABLE_CALL)
        self.reservations.discard(reservation.archive_id)
        self.line.end()

    def forget_archive(self, seen: Archive) -> None:
        self.line.begin(TABLE_CALL)
        if self.rows.get(seen.id) != seen:
            raise WriteConflict
        del self.rows[seen.id]
        self.line.end()


def due_at(archive: Archive) -> Millis:
    return next_task(archive, LIFETIMES, merges_at_finalize=False)[0]


@dataclass
class Manifests:
    bucket: Bucket

    def of(self, archive: Archive) -> Manifest:
        self.bucket.line.begin(10 * TABLE_CALL)
        self.bucket.line.end()
        kept = self.bucket.heaps[archive.id].kept
        return Manifest(tuple(Part(_key(archive.id, number), 0, '"e"') for number in range(kept)))


@dataclass
class Flooded:
    clock: SetClock = field(default_factory=SetClock)
    telemetry: RecordingTelemetry = field(default_factory=RecordingTelemetry)
    open_upload_bytes: int | None = None

    def __post_init__(self) -> None:
        self.line = Line(self.clock)
        self.bucket, self.table = Bucket(self.line), Table(self.line)
        unused = cast("Any", None)
        self.clean_up = CleanUp(
            cast("Any", self.table),
            cast("Any", self.bucket),
            cast("Any", Manifests(self.bucket)),
            self.clock,
            unused,
            unused,
            unused,
            LIFETIMES,
            max_attempts=5,
            merges_at_finalize=False,
            open_upload_bytes=self.open_upload_bytes,
            telemetry=self.telemetry,
        )

    def add(self, archive: Archive, heap: Heap) -> None:
        self.table.rows[archive.id] = archive
        self.bucket.heaps[archive.id] = heap
        if archive.state is ArchiveState.RESERVED:
            self.table.reservations.add(archive.id)

    def remaining_of(self, seconds: int) -> Any:
        until = self.clock.at + seconds * SECOND
        return lambda: until - self.clock.at


def _key(archive_id: str, number: int) -> str:
    return f"archives/{archive_id}/parts/blocks/{number:08d}/1"


def _number(key: str) -> int:
    return int(key.split("/")[4])
