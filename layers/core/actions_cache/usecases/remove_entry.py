"""An entry goes: a tombstone first, its objects after its readers' grace (P3)."""

from collections.abc import Callable
from dataclasses import dataclass

from actions_cache.domain import happenings
from actions_cache.domain.archive import Archive, Part, deleted
from actions_cache.ports import Bucket, Clock, ObjectGone, Table, Telemetry, Unreadable, WriteConflict


@dataclass(frozen=True, slots=True)
class RemoveEntry:
    table: Table
    clock: Clock
    telemetry: Telemetry

    def __call__(self, archive_id: str, still_wanted: Callable[[Archive], bool]) -> bool:
        """Removes the archive's entry if, at the write, `still_wanted` holds and nothing else has changed."""
        seen = self.table.archive(archive_id)
        if seen is None or not seen.is_stored or not still_wanted(seen):
            return False
        by = deleted(seen, self.clock.now())
        if by is None:
            return False
        try:
            self.table.remove_entry(seen, by)
        except WriteConflict:
            return False
        self.telemetry.tell(happenings.entry_removed(by))
        return True


@dataclass(frozen=True, slots=True)
class RemoveBroken:
    """Removes the entry of an archive whose object is gone or unreadable, so that the next lookup misses."""

    bucket: Bucket
    remove_entry: RemoveEntry
    telemetry: Telemetry

    def __call__(self, archive: Archive, gone: ObjectGone) -> bool:
        """Only on the bucket's own word, and only while the archive still needs the object."""
        lost = gone.part
        stands = None if isinstance(gone, Unreadable) else self.bucket.stat(lost.key)
        if stands is not None and stands.etag == lost.etag:
            return False
        removed = self.remove_entry(archive.id, lambda seen: _needs(seen, lost))
        if removed:
            self.telemetry.tell(happenings.entry_broken(archive, lost))
        return removed


def _needs(archive: Archive, lost: Part) -> bool:
    return archive.object is None or archive.object == lost
