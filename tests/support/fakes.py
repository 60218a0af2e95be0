"""Fakes of the core's ports: telemetry that records, and a bucket and a table for merges of any size."""

import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import md5
from typing import Any, cast

from actions_cache.archives import Manifests
from actions_cache.domain import claim
from actions_cache.domain.archive import Archive, Part, committed, reserved, stored
from actions_cache.domain.checksum import etag_of, etag_of_upload
from actions_cache.domain.entry_class import EntryClass
from actions_cache.domain.object_keys import ArchiveKeys
from actions_cache.domain.ranges import PartRange
from actions_cache.domain.timing import SECOND, Lifetimes, Millis
from actions_cache.events import Event, Metric, RunEnd
from actions_cache.merge import MergeArchive
from actions_cache.ports import MergeMessage, MultipartUpload, UploadedPart
from actions_cache.system import RandomTokens
from dev.clients.driver import SetClock, name, plenty


@dataclass
class RecordingTelemetry:
    """Keeps the events, in the order in which they were emitted."""

    events: list[Event] = field(default_factory=list)

    def emit(self, event: Event) -> None:
        for metric in event.metrics:
            named = event.fields[metric.dimension] if metric.dimension else None
            assert named is None or str(named) in metric.values, (
                "a value that the metric doesn't declare would be a metric of its own"
            )
        self.events.append(event)

    def about(self, archive: Archive) -> None:
        """Add no fields of the archive to the events."""

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events]

    def counted(self, metric: Metric) -> list[object]:
        """Return the values of the metric's dimension, or its numbers where it has none, in their order."""
        return [
            event.fields[metric.dimension] if metric.dimension else event.metrics[metric]
            for event in self.events
            if metric in event.metrics
        ]


# ---------------------------------------------------------------- merges of any size

MAX_ATTEMPTS = 5
HOUR: Millis = 3600 * SECOND
LIFETIMES = Lifetimes(
    upload_url=HOUR,
    download_url=HOUR,
    reservation=HOUR,
    grace=HOUR,
    unused=dict.fromkeys(EntryClass, HOUR),
    merge_lease=HOUR,
    queue_retention=HOUR,
)


@dataclass
class FakeBucket:
    """A bucket that takes no time and holds no bytes, but for objects that are written at once."""

    bodies: dict[str, bytes] = field(default_factory=dict)
    merged: Part | None = None
    copied: dict[int, int] = field(default_factory=dict)
    """Bytes copied, by the number of the part."""

    def write_once(self, key: str, body: bytes) -> Part:
        self.bodies[key] = body
        return Part(key, len(body), etag_of([body]))

    def read(self, source: PartRange) -> bytes:
        return self.bodies[source.part.key]

    def start_upload(self, key: str) -> MultipartUpload:
        return MultipartUpload(key, "upload")

    def copy_part(self, _upload: MultipartUpload, number: int, source: PartRange) -> UploadedPart:
        self.copied[number] = source.size
        return UploadedPart(number, source.part.etag)

    def complete_upload(self, upload: MultipartUpload, parts: Sequence[UploadedPart]) -> None:
        self.merged = Part(upload.key, sum(self.copied.values()), etag_of_upload([part.etag for part in parts]) or "")

    def stat(self, _key: str) -> Part | None:
        return self.merged


@dataclass
class FakeTable:
    """A table with the item of one archive."""

    row: Archive

    def archive(self, _archive_id: str) -> Archive | None:
        return self.row

    def replace_archive(self, seen: Archive, by: Archive) -> Archive:
        self.row = replace(by, revision=seen.revision + 1)
        return self.row


def merge_of_copies(count: int, size: int) -> tuple[float, int]:
    """Merge so many parts, all by copies, on fakes.

    Returns:
        Seconds of processor time, and the most bytes of memory held.
    """
    clock, tokens, store = SetClock(), RandomTokens(), FakeBucket()
    archive_id = tokens.new()
    keys, manifests = ArchiveKeys(archive_id), Manifests(cast("Any", store), tokens)
    parts = [Part(keys.blob(n, f"{n:08d}"), size, f'"{md5(b"%d" % n).hexdigest()}"') for n in range(count)]
    commit, only_part = manifests.commit(keys, parts, "digest")
    del parts
    held = committed(reserved(archive_id, name("huge"), clock.now(), LIFETIMES), commit, only_part)
    visible = stored(cast("Archive", held), clock.now())
    claimed = claim.claimed(cast("Archive", visible), "token", clock.now(), LIFETIMES, MAX_ATTEMPTS)
    table, unused = FakeTable(cast("Archive", claimed)), cast("Any", None)
    merge = MergeArchive(
        cast("Any", table),
        cast("Any", store),
        manifests,
        clock,
        tokens,
        unused,
        unused,
        LIFETIMES,
        max_attempts=MAX_ATTEMPTS,
        concurrency=16,
        telemetry=RecordingTelemetry(),
    )
    tracemalloc.start()
    began = time.process_time()
    outcome = merge(MergeMessage(archive_id, "token"), plenty)
    seconds = time.process_time() - began
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (outcome, table.row.object) == (RunEnd.MERGED, store.merged)
    assert sum(store.copied.values()) == count * size
    return seconds, most
