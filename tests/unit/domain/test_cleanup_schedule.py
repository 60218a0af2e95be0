"""The times of cleanup's tasks, and the objects that a sweep keeps: no reader is cut off, and nothing leaks."""

from dataclasses import replace

import pytest

from actions_cache.domain.archive import (
    ArchiveState,
    Commit,
    DirectUpload,
    Manifest,
    Merge,
    MergeState,
    Part,
    Walk,
    closed,
    deleted,
    looked,
    stored,
    swept,
    why_gone,
)
from actions_cache.domain.cleanup_schedule import (
    LOOK_EVERY,
    discarded_bytes,
    is_too_much,
    kept_keys,
    may_complete,
    may_have_left_an_upload,
    needs_parts,
    next_task,
)
from actions_cache.domain.cleanup_schedule import CleanupTask as Task
from actions_cache.domain.timing import SEND_TIMEOUT
from actions_cache.domain.uploads import MAX_ARRIVALS
from tests.unit.domain.build import (
    ID,
    LIFETIMES,
    MANIFEST,
    MERGED,
    NOW,
    archive,
    merged_archive,
    queued,
    running,
    stored_archive,
)

PARTS = tuple(Part(f"archives/{ID}/parts/blocks/{i}/1", 10, f'"{i}"') for i in range(3))
LAST_ARRIVAL = NOW + 2 * LIFETIMES.upload_url
PARTS_REMOVABLE = NOW + LIFETIMES.grace


def next_due(current, *, merges_at_finalize=True):
    return next_task(current, LIFETIMES, merges_at_finalize=merges_at_finalize)


def closed_upload(**changes):
    tombstone = closed(archive(), NOW + 9)
    assert tombstone is not None
    return replace(tombstone, **changes)


COMMITTED = archive(commit=Commit("d", 30, 3, MANIFEST), looked_at=NOW + 7)
DELETED = archive(state=ArchiveState.DELETED, deleted_at=NOW + 9)
DELETED_MERGED = merged_archive(state=ArchiveState.DELETED, deleted_at=NOW + 9)
ONE_PART = stored_archive(object=PARTS[0], commit=Commit("d", 10, 1, None))
FAILED = stored_archive(Merge(state=MergeState.FAILED, ended_at=NOW + 9))
SWEPT = merged_archive(swept_at=LAST_ARRIVAL)
EXPIRES = NOW + LIFETIMES.unused_entry
LAST_LOOK = archive(looked_at=NOW + LIFETIMES.reservation - LOOK_EVERY)
TASKS = {
    "an open upload, minutes after it began": (archive(), NOW + LOOK_EVERY, Task.LOOK_AT_UPLOAD),
    "an open upload, again": (archive(looked_at=NOW + 7), NOW + 7 + LOOK_EVERY, Task.LOOK_AT_UPLOAD),
    "a committed upload too": (COMMITTED, NOW + 7 + LOOK_EVERY, Task.LOOK_AT_UPLOAD),
    "a reservation when it expires": (LAST_LOOK, NOW + LIFETIMES.reservation, Task.DROP_RESERVATION),
    "a closed upload at once": (closed_upload(), NOW + 9, Task.SWEEP),
    "... again while its URL is valid": (closed_upload(swept_at=NOW + 9), NOW + 9 + LOOK_EVERY, Task.SWEEP),
    "... last when nothing can arrive": (closed_upload(swept_at=LAST_ARRIVAL - 1), LAST_ARRIVAL, Task.SWEEP),
    "... and is forgotten after that": (closed_upload(swept_at=LAST_ARRIVAL), LAST_ARRIVAL, Task.FORGET),
    "an unclaimed archive": (stored_archive(), NOW + SEND_TIMEOUT, Task.RETAKE_CLAIM),
    "a claim whose message was never sent": (queued(), NOW + SEND_TIMEOUT, Task.RETAKE_CLAIM),
    "a dead run's claim": (running(), NOW + LIFETIMES.merge_lease, Task.RETAKE_CLAIM),
    "a merged archive's parts after the grace": (merged_archive(), PARTS_REMOVABLE, Task.SWEEP),
    "what a failed merge left, after the grace": (FAILED, NOW + 9 + LIFETIMES.grace, Task.SWEEP),
    "late arrivals when no PUT can run": (merged_archive(swept_at=PARTS_REMOVABLE), LAST_ARRIVAL, Task.SWEEP),
    "late arrivals for one part too": (ONE_PART, LAST_ARRIVAL, Task.SWEEP),
    "an unused entry expires": (SWEPT, EXPIRES, Task.EXPIRE_ENTRY),
    "... later after a use": (replace(SWEPT, last_used_at=NOW + 5), EXPIRES + 5, Task.EXPIRE_ENTRY),
    "a deleted archive's objects after the grace": (DELETED_MERGED, NOW + 9 + LIFETIMES.grace, Task.SWEEP),
    "... at once if it never had readers": (DELETED, NOW + 9, Task.SWEEP),
    "... forgotten once nothing can arrive": (replace(DELETED, swept_at=LAST_ARRIVAL), LAST_ARRIVAL, Task.FORGET),
    "a failed cleanup waits": (archive(postponed_until=NOW + 10**9), NOW + 10**9, Task.LOOK_AT_UPLOAD),
}


@pytest.mark.parametrize(("current", "at", "task"), TASKS.values(), ids=TASKS)
def test_next_task_follows_archive_state(current, at, task):
    assert next_due(current) == (at, task)


def test_lazy_merge_leaves_unread_archive_unmerged():
    assert next_due(stored_archive(), merges_at_finalize=False) == (LAST_ARRIVAL, Task.SWEEP)
    merged = merged_archive()
    at, _ = next_due(merged)
    assert next_due(swept(merged, at))[0] > at, "a finished task isn't due again"


@pytest.mark.parametrize(
    ("walk", "most", "too_much"),
    [
        (Walk(NOW, "", 1, 100), 100, False),
        (Walk(NOW, "", 1, 101), 100, True),
        (Walk(NOW, "", 1, 10**15), None, False),
        (Walk(NOW, "", MAX_ARRIVALS, 0), 100, False),
        (Walk(NOW, "", MAX_ARRIVALS + 1, 0), None, True),
    ],
)
def test_open_upload_is_bounded(walk, most, too_much):
    assert is_too_much(walk, most) == too_much


REMOVED = stored_archive(state=ArchiveState.DELETED, deleted_at=NOW)
LATE = merged_archive(state=ArchiveState.DELETED, deleted_at=LAST_ARRIVAL, swept_at=LAST_ARRIVAL)
DISCARDED = {
    "all of an upload that was never finalized": (closed_upload(), 50, NOW + 9, 50),
    "all that an unmerged archive doesn't keep": (stored_archive(), 50, LAST_ARRIVAL, 50),
    "all beyond the size of a merged archive": (merged_archive(), 50, PARTS_REMOVABLE, 20),
    "all that arrived after its parts were deleted": (merged_archive(swept_at=PARTS_REMOVABLE), 50, LAST_ARRIVAL, 50),
    "nothing of a removed entry": (REMOVED, 30, NOW + LIFETIMES.grace, 0),
    "nothing where only the merged object is deleted": (LATE, 0, LAST_ARRIVAL + LIFETIMES.grace, 0),
}


@pytest.mark.parametrize(("current", "deleted", "at", "discarded"), DISCARDED.values(), ids=DISCARDED)
def test_unowned_bytes_count_as_discarded(current, deleted, at, discarded):
    assert discarded_bytes(current, deleted, at, LIFETIMES) == discarded


def test_closed_upload_stays_closed():
    assert closed(stored_archive(), NOW) is None
    assert closed(closed_upload(), NOW) is None
    assert stored(closed_upload(commit=Commit("d", 30, 3, MANIFEST)), NOW + 10) is None
    assert "MAX_OPEN_UPLOAD_BYTES" in why_gone(closed_upload())
    assert "expired" in why_gone(None)


def test_state_change_discards_walk():
    walk = Walk(NOW, "archives/x")
    upload = archive(commit=Commit("d", 30, 3, MANIFEST), walk=walk)
    assert [after and after.walk for after in (stored(upload, NOW), deleted(upload, NOW), looked(upload, NOW))] == [
        None
    ] * 3


def kept(current, now):
    return kept_keys(current, Manifest(PARTS) if needs_parts(current, now, LIFETIMES) else None, now, LIFETIMES)


PART_KEYS = {part.key for part in PARTS}


def test_merged_archive_keeps_parts_during_grace():
    assert kept(merged_archive(), PARTS_REMOVABLE - 1) == PART_KEYS | {MANIFEST.key, MERGED.key}
    assert kept(merged_archive(), PARTS_REMOVABLE) == {MERGED.key}
    assert kept(stored_archive(), NOW + 10**12) == PART_KEYS | {MANIFEST.key}, "an unmerged one always"
    assert {f"archives/{ID}/merged/{run}" for run in ("run", "lost")} & kept(running(), NOW) == {MERGED.key}


def test_deleted_archive_keeps_what_was_readable_during_grace():
    deleted = replace(stored_archive(), state=ArchiveState.DELETED, deleted_at=NOW)
    assert kept(deleted, NOW + LIFETIMES.grace - 1) == PART_KEYS | {MANIFEST.key}
    assert kept(deleted, NOW + LIFETIMES.grace) == frozenset()
    late = PARTS_REMOVABLE + 5
    merge = Merge(state=MergeState.MERGED, ended_at=NOW)
    deleted = stored_archive(merge, object=MERGED, state=ArchiveState.DELETED, deleted_at=late)
    assert kept(deleted, late) == {MERGED.key}
    assert kept(deleted, late + LIFETIMES.grace) == frozenset()


@pytest.mark.parametrize(
    ("current", "expected"),
    [
        (archive(), False),
        (queued(), False),
        (queued(attempts=1), True),
        (running(), True),
        (stored_archive(Merge(state=MergeState.FAILED, attempts=5)), True),
        (stored_archive(Merge(state=MergeState.MERGED, attempts=1), object=MERGED), False),
        (stored_archive(Merge(state=MergeState.MERGED, attempts=2), object=MERGED), True),
    ],
)
def test_only_a_run_without_a_result_may_have_left_an_upload(current, expected):
    assert may_have_left_an_upload(current) is expected


def test_upload_may_complete_for_the_current_run_or_the_offer_alone():
    key, direct_key = f"archives/{ID}/merged/run", f"archives/{ID}/parts/direct/1"
    assert may_complete(running(), key)
    assert may_complete(archive(direct=DirectUpload(direct_key, "id")), direct_key)
    lost = [
        running(run_token="another"),
        queued(),
        merged_archive(),
        replace(running(), state=ArchiveState.DELETED),
        archive(direct=DirectUpload(direct_key + "2", "id")),
    ]
    for current in lost:
        assert not may_complete(current, key)
        assert not may_complete(current, direct_key)
