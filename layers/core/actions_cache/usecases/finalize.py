"""FinalizeCacheEntryUpload: all or nothing."""

from dataclasses import dataclass

from actions_cache.domain import happenings
from actions_cache.domain.archive import Archive, ArchiveState, committed, stored
from actions_cache.domain.claim import needs_merge
from actions_cache.domain.commit import whole_blob
from actions_cache.domain.entry import Entry, EntryName
from actions_cache.domain.errors import InvalidRequest, NotFound, TryAgain
from actions_cache.domain.layout import ArchiveKeys
from actions_cache.domain.usage import Budgets
from actions_cache.ports import Bucket, Clock, Table, Telemetry, Unavailable, WriteConflict
from actions_cache.usecases.arrivals import arrivals
from actions_cache.usecases.claim_merge import ClaimMerge
from actions_cache.usecases.evict import Evict
from actions_cache.usecases.manifests import Manifests
from actions_cache.usecases.note_activity import NoteActivity
from actions_cache.usecases.transition import MAX_ROUNDS


@dataclass(frozen=True, slots=True)
class Finalize:
    table: Table
    bucket: Bucket
    manifests: Manifests
    clock: Clock
    claim_merge: ClaimMerge
    evict: Evict
    note_activity: NoteActivity
    budgets: Budgets
    merges_at_finalize: bool
    telemetry: Telemetry

    def __call__(self, name: EntryName, size: int, archive_id: str | None = None) -> Entry:
        """Make the upload that holds the key visible. The same Finalize again gives the same entry.

        Args:
            name: whose upload it is.
            size: what the client sent.
            archive_id: where the caller says which upload is meant, as by the v1 API; another one is left alone.

        Raises:
            NotFound: nothing holds the key: never reserved, or expired.
            InvalidRequest: `size` isn't what arrived, or nothing was committed. Nothing was changed.
            TooLarge: no eviction makes room for it, or more arrived than a request has time to list. Nothing was
                changed.
        """
        for _ in range(MAX_ROUNDS):
            archive = self._held_archive(name)
            if archive is None or archive_id not in (None, archive.id):
                return self._finalized_before(name, size, archive_id)
            committed_archive = self._committed(archive, size)
            _check_size(name, size, committed_archive.size)
            self.budgets.check_entry(size)
            by = stored(committed_archive, self.clock.now())
            if by is None:
                continue
            try:
                finalized = self.table.publish_entry(archive, by)
            except WriteConflict:
                continue
            self.telemetry.tell(happenings.saved(finalized))
            self._start_merge(finalized)
            self._make_room(finalized)
            self.note_activity.save(finalized.entry)
            return finalized.entry
        raise TryAgain("too many writers at once")

    def _held_archive(self, name: EntryName) -> Archive | None:
        """The archive of the current, unexpired reservation: Finalize names no upload."""
        reservation = self.table.reservation(name)
        if reservation is None or reservation.expires_at <= self.clock.now():
            return None
        archive = self.table.archive(reservation.archive_id)
        return archive if archive and archive.state is ArchiveState.RESERVED else None

    def _finalized_before(self, name: EntryName, size: int, archive_id: str | None) -> Entry:
        entry = self.table.entry(name)
        if entry is None or archive_id not in (None, entry.archive_id):
            raise NotFound(f"no upload holds the key {name.key!r}: it was never reserved, or took too long")
        _check_size(name, size, entry.size)
        return entry

    def _committed(self, archive: Archive, size: int) -> Archive:
        """A Put Blob has no block list: its newest arrival is pinned here, in the same write as all else.

        So is what was appended and never sealed: Azure's SDK doesn't.

        Raises: InvalidRequest when `size` isn't what arrived: before a manifest is written for it.
        """
        if archive.commit is not None:
            return archive
        keys = ArchiveKeys(archive.id)
        blob = whole_blob(keys, arrivals(self.bucket, self.clock, keys.parts_prefix))
        if blob is None:
            raise InvalidRequest(f"nothing was uploaded for the key {archive.name.key!r}, or no block list followed")
        _check_size(archive.name, size, blob.size)
        commit, only_part = self.manifests.commit(keys, blob.parts, blob.digest)
        return committed(archive, commit, only_part) or archive

    def _start_merge(self, archive: Archive) -> None:
        """The entry is saved: what goes wrong here is the schedule's to take up."""
        if not (self.merges_at_finalize and needs_merge(archive)):
            return
        try:
            self.claim_merge(archive.id)
        except (Unavailable, TryAgain) as fault:
            self.telemetry.tell(happenings.merge_unclaimed(archive, fault))

    def _make_room(self, archive: Archive) -> None:
        try:
            self.evict.after_save(archive.name.family.repository)
        except Unavailable as fault:
            self.telemetry.tell(happenings.over_budget(archive, fault))


def _check_size(name: EntryName, claimed: int, arrived: int) -> None:
    if claimed != arrived:
        raise InvalidRequest(f"size_bytes is {claimed}, but {arrived} bytes arrived for the key {name.key!r}")
