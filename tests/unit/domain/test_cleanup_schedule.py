"""The times of cleanup's tasks, and the objects that a sweep keeps: no reader is cut off, and nothing leaks."""

from dataclasses import replace

import pytest

from actions_cache.domain.archive import (
    ArchiveState,
    Commit,
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
    CleanupTask,
    discarded_bytes,
    is_too_much,
    kept_keys,
    needs_parts,
    next_task,
)
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


TASKS = {
    "an open upload is looked at some minutes after it began": (
        archive(),
        NOW + LOOK_EVERY,
        CleanupTask.LOOK_AT_UPLOAD,
    ),
    "an open upload is looked at again after each look": (
        archive(looked_at=NOW + 7),
        NOW + 7 + LOOK_EVERY,
        CleanupTask.LOOK_AT_UPLOAD,
    ),
    "a committed upload is looked at too": (
        archive(commit=Commit("d", 30, 3, MANIFEST), looked_at=NOW + 7),
        NOW + 7 + LOOK_EVERY,
        CleanupTask.LOOK_AT_UPLOAD,
    ),
    "a reservation is dropped when it expires": (
        archive(looked_at=NOW + LIFETIMES.reservation - LOOK_EVERY),
        NOW + LIFETIMES.reservation,
        CleanupTask.DROP_RESERVATION,
    ),
    "a closed upload is swept at once": (closed_upload(), NOW + 9, CleanupTask.SWEEP),
    "a closed upload is swept again while its URL is valid": (
        closed_upload(swept_at=NOW + 9),
        NOW + 9 + LOOK_EVERY,
        CleanupTask.SWEEP,
    ),
    "a closed upload is swept last when nothing can arrive": (
        closed_upload(swept_at=LAST_ARRIVAL - 1),
        LAST_ARRIVAL,
        CleanupTask.SWEEP,
    ),
    "a closed upload is forgotten after its last sweep": (
        closed_upload(swept_at=LAST_ARRIVAL),
        LAST_ARRIVAL,
        CleanupTask.FORGET,
    ),
    "an unclaimed archive is claimed": (stored_archive(), NOW + SEND_TIMEOUT, CleanupTask.RETAKE_CLAIM),
    "a claim whose message was never sent is retaken": (queued(), NOW + SEND_TIMEOUT, CleanupTask.RETAKE_CLAIM),
    "a dead run's claim is retaken": (running(), NOW + LIFETIMES.merge_lease, CleanupTask.RETAKE_CLAIM),
    "a merged archive's parts are deleted after the grace": (merged_archive(), PARTS_REMOVABLE, CleanupTask.SWEEP),
    "what a failed merge left is deleted after the grace": (
        stored_archive(Merge(state=MergeState.FAILED, ended_at=NOW + 9)),
        NOW + 9 + LIFETIMES.grace,
        CleanupTask.SWEEP,
    ),
    "late arrivals are swept when no PUT can be running": (
        merged_archive(swept_at=PARTS_REMOVABLE),
        LAST_ARRIVAL,
        CleanupTask.SWEEP,
    ),
    "late arrivals for one part are swept too": (
        stored_archive(object=PARTS[0], commit=Commit("d", 10, 1, None)),
        LAST_ARRIVAL,
        CleanupTask.SWEEP,
    ),
    "an unused entry expires": (
        merged_archive(swept_at=LAST_ARRIVAL),
        NOW + LIFETIMES.unused_entry,
        CleanupTask.EXPIRE_ENTRY,
    ),
    "a use delays its expiry": (
        merged_archive(swept_at=LAST_ARRIVAL, last_used_at=NOW + 5),
        NOW + 5 + LIFETIMES.unused_entry,
        CleanupTask.EXPIRE_ENTRY,
    ),
    "a deleted archive's objects are deleted after the grace": (
        merged_archive(state=ArchiveState.DELETED, deleted_at=NOW + 9),
        NOW + 9 + LIFETIMES.grace,
        CleanupTask.SWEEP,
    ),
    "an archive that was never visible had no readers": (
        archive(state=ArchiveState.DELETED, deleted_at=NOW + 9),
        NOW + 9,
        CleanupTask.SWEEP,
    ),
    "an archive is forgotten once nothing can arrive": (
        archive(state=ArchiveState.DELETED, deleted_at=NOW + 9, swept_at=LAST_ARRIVAL),
        LAST_ARRIVAL,
        CleanupTask.FORGET,
    ),
    "an archive on which cleanup failed waits": (
        archive(postponed_until=NOW + 10**9),
        NOW + 10**9,
        CleanupTask.LOOK_AT_UPLOAD,
    ),
}


@pytest.mark.parametrize(("current", "at", "task"), TASKS.values(), ids=TASKS)
def test_next_task_follows_archive_state(current, at, task):
    assert next_due(current) == (at, task)


def test_lazy_merge_leaves_unread_archive_unmerged():
    assert next_due(stored_archive(), merges_at_finalize=False) == (LAST_ARRIVAL, CleanupTask.SWEEP)


def test_finished_task_is_not_due_again():
    merged = merged_archive()
    at, _ = next_due(merged)
    assert next_due(swept(merged, at))[0] > at


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


DISCARDED = {
    "all of an upload that was never finalized": (closed_upload(), 50, NOW + 9, 50),
    "all that an unmerged archive doesn't keep": (stored_archive(), 50, LAST_ARRIVAL, 50),
    "all beyond the size of a merged archive": (merged_archive(), 50, PARTS_REMOVABLE, 20),
    "all that arrived after its parts were deleted": (merged_archive(swept_at=PARTS_REMOVABLE), 50, LAST_ARRIVAL, 50),
    "nothing of a removed entry": (
        stored_archive(state=ArchiveState.DELETED, deleted_at=NOW),
        30,
        NOW + LIFETIMES.grace,
        0,
    ),
    "nothing where only the merged object is deleted": (
        merged_archive(state=ArchiveState.DELETED, deleted_at=LAST_ARRIVAL, swept_at=LAST_ARRIVAL),
        0,
        LAST_ARRIVAL + LIFETIMES.grace,
        0,
    ),
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


def test_unmerged_archive_always_keeps_parts():
    assert kept(stored_archive(), NOW + 10**12) == PART_KEYS | {MANIFEST.key}


def test_only_current_run_object_is_kept():
    assert f"archives/{ID}/merged/run" in kept(running(), NOW)
    assert f"archives/{ID}/merged/lost" not in kept(running(), NOW)


def test_deleted_archive_keeps_objects_during_grace():
    deleted = replace(stored_archive(), state=ArchiveState.DELETED, deleted_at=NOW)
    assert kept(deleted, NOW + LIFETIMES.grace - 1) == PART_KEYS | {MANIFEST.key}
    assert kept(deleted, NOW + LIFETIMES.grace) == frozenset()


def test_deleted_merged_archive_keeps_its_object():
    merge = Merge(state=MergeState.MERGED, ended_at=NOW)
    late = PARTS_REMOVABLE + 5
    deleted = stored_archive(merge, object=MERGED, state=ArchiveState.DELETED, deleted_at=late)
    assert kept(deleted, late) == {MERGED.key}
    assert kept(deleted, late + LIFETIMES.grace) == frozenset()
