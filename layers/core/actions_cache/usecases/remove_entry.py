"""An entry goes: a tombstone first, its objects after its readers' grace."""

from collections.abc import Callable
from dataclasses import dataclass

from actions_cache.domain import happenings
from actions_cache.domain.archive import Archive, Part, deleted
from actions_cache.domain.happenings import Loss
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
    """Removes the entry of an archive whose object is gone, changed or unreadable, so that the next lookup misses."""

    bucket: Bucket
    remove_entry: RemoveEntry
    telemetry: Telemetry

    def __call__(self, archive: Archive, gone: ObjectGone) -> Loss | None:
        """Remove the entry, but only if the bucket confirms the loss and the archive still needs the object.

        Returns:
            Why the entry was removed; None if it wasn't, or others removed it.
        """
        lost, loss = gone.part, self._loss(gone)
        if loss is None or not self.remove_entry(archive.id, lambda seen: _needs(seen, lost)):
            return None
        self.telemetry.tell(happenings.entry_broken(archive, lost, loss))
        return loss

    def _loss(self, gone: ObjectGone) -> Loss | None:
        """Ask the bucket, and return None if the object is there as it was pinned."""
        if isinstance(gone, Unreadable):
            return Loss.UNREADABLE
        existing = self.bucket.stat(gone.part.key)
        if existing is None:
            return Loss.GONE
        return None if existing.etag == gone.part.etag else Loss.CHANGED


def _needs(archive: Archive, lost: Part) -> bool:
    return archive.object is None or archive.object == lost
