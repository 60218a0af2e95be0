"""The cleanup schedule: the next task of each archive and its due time, and what a sweep may delete.

The table keeps every archive in an index by its due time.
"""

from enum import StrEnum

from actions_cache.domain.archive import Archive, ArchiveState, Manifest, MergeState, Walk, ends_at
from actions_cache.domain.claim import claimable_at
from actions_cache.domain.object_keys import ArchiveKeys
from actions_cache.domain.timing import SECOND, SEND_TIMEOUT, Lifetimes, Millis
from actions_cache.domain.uploads import MAX_ARRIVALS

LOOK_EVERY: Millis = 300 * SECOND
"""Time between two looks at an open upload. Longer: more may arrive beyond the upload's bound. Shorter: more requests
for long uploads."""


class CleanupTask(StrEnum):
    """The tasks of cleanup, named as in the log and in metrics."""

    LOOK_AT_UPLOAD = "look at the open upload"
    DROP_RESERVATION = "drop the reservation"
    RETAKE_CLAIM = "retake the claim"
    SWEEP = "sweep"
    EXPIRE_ENTRY = "expire the entry"
    FORGET = "forget the archive"


def next_task(archive: Archive, lifetimes: Lifetimes, *, merges_at_finalize: bool) -> tuple[Millis, CleanupTask]:
    """Return the next task and its due time. There is always one: in the end, an archive is forgotten."""
    tasks = _tasks(archive, lifetimes, merges_at_finalize=merges_at_finalize)
    due_at, task = min(tasks, key=lambda due: due[0])
    return max(due_at, archive.postponed_until), task


def _tasks(archive: Archive, lifetimes: Lifetimes, *, merges_at_finalize: bool) -> list[tuple[Millis, CleanupTask]]:
    if archive.state is ArchiveState.RESERVED:
        look_at = max(archive.reserved_at, archive.looked_at) + LOOK_EVERY
        return [(archive.reservation_expires_at, CleanupTask.DROP_RESERVATION), (look_at, CleanupTask.LOOK_AT_UPLOAD)]
    tasks = [(at, CleanupTask.SWEEP) for at in _sweep_times(archive, lifetimes) if at > archive.swept_at]
    if archive.is_stored:
        tasks.append((ends_at(archive, archive.last_used_at, lifetimes), CleanupTask.EXPIRE_ENTRY))
        retake_at = _retake_at(archive, lifetimes, merges_at_finalize=merges_at_finalize)
        if retake_at is not None:
            tasks.append((retake_at, CleanupTask.RETAKE_CLAIM))
    return tasks or [(archive.swept_at, CleanupTask.FORGET)]


def _retake_at(archive: Archive, lifetimes: Lifetimes, *, merges_at_finalize: bool) -> Millis | None:
    if archive.merge.state is MergeState.UNMERGED:
        return archive.stored_at + SEND_TIMEOUT if merges_at_finalize and archive.object is None else None
    return claimable_at(archive, lifetimes)


def _sweep_times(archive: Archive, lifetimes: Lifetimes) -> tuple[Millis, ...]:
    """Return the times at which objects of this archive become unneeded."""
    last_arrival = archive.upload_closes_at + lifetimes.late_arrival
    if archive.state is ArchiveState.DELETED:
        again = min(max(archive.swept_at + LOOK_EVERY, archive.deleted_at), last_arrival)
        return removable_at(archive, lifetimes), last_arrival, *([again] if archive.closed_at else [])
    if archive.merge.state is MergeState.MERGED:
        return parts_removable_at(archive, lifetimes), last_arrival
    if archive.merge.state is MergeState.FAILED:
        # A run may have completed an object without publishing it; after the grace, no run is alive.
        return archive.merge.ended_at + lifetimes.grace, last_arrival
    return (last_arrival,)


def removable_at(archive: Archive, lifetimes: Lifetimes) -> Millis:
    """Return the time from which a deleted archive has no readers. One that was never visible had none."""
    return archive.deleted_at + (lifetimes.grace if archive.was_visible else 0)


def parts_removable_at(archive: Archive, lifetimes: Lifetimes) -> Millis:
    """Return the time from which the parts of a merged archive have no readers."""
    return archive.merge.ended_at + lifetimes.grace


def needs_parts(archive: Archive, now: Millis, lifetimes: Lifetimes) -> bool:
    """Return whether the parts, or the manifest that names them, may still be read."""
    is_gone = archive.state is ArchiveState.DELETED and removable_at(archive, lifetimes) <= now
    is_merged = archive.merge.state is MergeState.MERGED and parts_removable_at(archive, lifetimes) <= now
    return not (is_gone or is_merged)


def is_too_much(walk: Walk, most_bytes: int | None) -> bool:
    """Return whether more bytes have arrived than an open upload may have, or more objects than a commit would list."""
    return walk.objects > MAX_ARRIVALS or (most_bytes is not None and walk.bytes > most_bytes)


def discarded_bytes(archive: Archive, bytes_of_parts: int, began_at: Millis, lifetimes: Lifetimes) -> int:
    """Return how many of the bytes that a sweep deleted below `parts/` had never belonged to an entry.

    Args:
        archive: The archive before the sweep.
        bytes_of_parts: Number of bytes that the sweep deleted below `parts/`.
        began_at: Time at which the sweep began.
        lifetimes: Durations from the settings.
    """
    if needs_parts(archive, began_at, lifetimes) or not archive.was_visible:
        return bytes_of_parts
    unneeded_at = [parts_removable_at(archive, lifetimes)] if archive.merge.state is MergeState.MERGED else []
    unneeded_at += [removable_at(archive, lifetimes)] if archive.state is ArchiveState.DELETED else []
    had_its_parts = archive.swept_at < min(unneeded_at)
    return max(0, bytes_of_parts - (archive.size if had_its_parts else 0))


def may_have_left_an_upload(archive: Archive) -> bool:
    """Return whether a run of the archive's merge may have died before its multipart upload was over."""
    is_merged = archive.merge.state is MergeState.MERGED
    return archive.merge.attempts > (1 if is_merged else 0)


def may_complete(archive: Archive, key: str) -> bool:
    """Return whether a multipart upload of this key may still become the archive's object.

    Args:
        archive: The archive, read after the upload was seen. Its run was noted before the upload was started, so one
            of another run than the current one will never be published.
        key: The key of the upload's object.
    """
    if archive.direct is not None and archive.direct.key == key:
        return True
    merge = archive.merge
    if not archive.is_stored or merge.state is not MergeState.RUNNING or merge.run_token is None:
        return False
    return key == ArchiveKeys(archive.id).merged(merge.run_token)


def kept_keys(archive: Archive, manifest: Manifest | None, now: Millis, lifetimes: Lifetimes) -> frozenset[str]:
    """Return the keys of the objects that a sweep keeps. All others below the archive's prefix are orphans.

    Args:
        archive: The archive, read after the bucket was listed, so that an object that was listed and has become part of
            the archive since then is kept.
        manifest: The committed parts; None once they aren't needed.
        now: Time before the bucket was listed.
        lifetimes: Durations from the settings.
    """
    if archive.state is ArchiveState.DELETED and removable_at(archive, lifetimes) <= now:
        return frozenset()
    kept = {part.key for part in manifest.parts} if manifest else set()
    if archive.object is not None:
        kept.add(archive.object.key)
    if manifest and archive.commit and archive.commit.manifest:
        kept.add(archive.commit.manifest.key)
    if archive.merge.run_token is not None:
        kept.add(ArchiveKeys(archive.id).merged(archive.merge.run_token))
    return frozenset(kept)
