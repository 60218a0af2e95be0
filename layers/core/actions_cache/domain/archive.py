r"""The stored bytes of an entry, from reservation to removal, as values and pure transitions.

    RESERVED --finalized--> STORED --deleted--> DELETED --(objects gone)--> no item
        \-------------deleted (reservation expired)-----^

A transition takes the archive as it was read and gives the archive to write instead. Whoever writes does
so on condition that nobody wrote in between, so each decision here holds when it takes effect.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from actions_cache.domain.entry import Entry, EntryName, Reservation
from actions_cache.domain.timing import Lifetimes, Millis

OCTET_STREAM = "application/octet-stream"
"""Type of every object, so that no reader of the bucket is shown saved bytes as a page."""


@dataclass(frozen=True, slots=True)
class Part:
    """One write-once object. Its ETag pins the bytes: a read that finds another one fails."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The parts of an archive, in the order of its block list."""

    parts: tuple[Part, ...]

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)


@dataclass(frozen=True, slots=True)
class Commit:
    """What an upload was committed as, by its block list or by the Finalize of a Put Blob."""

    digest: str
    size: int
    part_count: int
    manifest: Part | None
    """Where the manifest of several parts stands: 10,000 of them don't fit a DynamoDB item of 400 KB."""
    first_part: Part | None = None
    """The first of several, so that a stream can ask for it while it reads the manifest."""


class ArchiveState(StrEnum):
    RESERVED = "reserved"
    STORED = "stored"
    DELETED = "deleted"


class MergeState(StrEnum):
    UNMERGED = "unmerged"
    QUEUED = "queued"
    RUNNING = "running"
    MERGED = "merged"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """Where the merge of an archive stands (transitions: domain/claim.py)."""

    state: MergeState = MergeState.UNMERGED
    claim_token: str | None = None
    claimed_at: Millis = 0
    sent_at: Millis | None = None
    run_token: str | None = None
    lease_until: Millis = 0
    attempts: int = 0
    ended_at: Millis = 0


@dataclass(frozen=True, slots=True)
class Walk:
    """Records how far a pass over an archive's objects has come; it may take several runs of the schedule."""

    began_at: Millis
    after: str = ""
    """Last key that the pass saw."""
    objects: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    id: str
    name: EntryName
    state: ArchiveState = ArchiveState.RESERVED
    reserved_at: Millis
    reservation_expires_at: Millis
    upload_closes_at: Millis
    commit: Commit | None = None
    object: Part | None = None
    """All bytes in one object: the only part, or the merged object."""
    merge: Merge = Merge()
    stored_at: Millis = 0
    last_used_at: Millis = 0
    deleted_at: Millis = 0
    swept_at: Millis = 0
    postponed_until: Millis = 0
    """Time until which cleanup looks at others first, since it failed here or may not survive what it began."""
    looked_at: Millis = 0
    """When cleanup last looked at the arrivals of the open upload."""
    closed_at: Millis = 0
    """When the upload was closed because too much had arrived."""
    walk: Walk | None = None
    """Cleanup's unfinished pass over the archive's objects."""
    revision: int = 0
    """Counted up by the table at each write; what a write is conditional on."""

    @property
    def size(self) -> int:
        return self.commit.size if self.commit else 0

    @property
    def is_stored(self) -> bool:
        return self.state is ArchiveState.STORED

    @property
    def was_visible(self) -> bool:
        return self.stored_at > 0

    @property
    def reservation(self) -> Reservation:
        return Reservation(self.name, self.id, self.reservation_expires_at)

    @property
    def entry(self) -> Entry:
        return Entry(self.name, self.id, self.size, self.stored_at)


def needed_first(archive: Archive) -> Part | None:
    """Return the object without which nothing can be read: the whole content, or the manifest."""
    return archive.object or (archive.commit.manifest if archive.commit else None)


def reserved(archive_id: str, name: EntryName, now: Millis, lifetimes: Lifetimes) -> Archive:
    return Archive(
        id=archive_id,
        name=name,
        reserved_at=now,
        reservation_expires_at=now + lifetimes.reservation,
        upload_closes_at=now + lifetimes.upload_url,
    )


def committed(archive: Archive, commit: Commit, only_part: Part | None) -> Archive | None:
    """None when it was committed already, or is no longer being uploaded."""
    if archive.state is not ArchiveState.RESERVED or archive.commit is not None:
        return None
    return replace(archive, commit=commit, object=only_part)


def stored(archive: Archive, now: Millis) -> Archive | None:
    """None unless it is committed and its reservation still holds the key."""
    if archive.state is not ArchiveState.RESERVED or archive.commit is None:
        return None
    if archive.reservation_expires_at <= now:
        return None
    return replace(archive, state=ArchiveState.STORED, stored_at=now, last_used_at=now, walk=None)


def used(archive: Archive, now: Millis, lifetimes: Lifetimes) -> Archive | None:
    """None when its last use was noted recently enough."""
    if not archive.is_stored or now - archive.last_used_at < lifetimes.last_use_resolution:
        return None
    return replace(archive, last_used_at=now)


def deleted(archive: Archive, now: Millis) -> Archive | None:
    """A tombstone: its objects outlive it by its readers' grace. None when it has one already."""
    if archive.state is ArchiveState.DELETED:
        return None
    return replace(archive, state=ArchiveState.DELETED, deleted_at=now, walk=None)


def closed(archive: Archive, now: Millis) -> Archive | None:
    """Return a tombstone for an upload that received too much; None if it is no longer open."""
    if archive.state is not ArchiveState.RESERVED:
        return None
    return replace(archive, state=ArchiveState.DELETED, deleted_at=now, closed_at=now, walk=None)


def why_gone(archive: Archive | None) -> str:
    """Return the message for a client that goes on with an upload that is over."""
    if archive is not None and archive.closed_at:
        return "this upload was closed: more arrived than an open upload may have (MAX_OPEN_UPLOAD_BYTES)"
    return "this upload is gone: its reservation expired, or its entry was removed"


def looked(archive: Archive, now: Millis) -> Archive | None:
    """Return the archive with the time of this look; None if the upload is no longer open."""
    if archive.state is not ArchiveState.RESERVED:
        return None
    return replace(archive, looked_at=now, walk=None)


def swept(archive: Archive, began_at: Millis) -> Archive:
    """Return the archive after a finished pass.

    Args:
        archive: as it was.
        began_at: when the pass began. The next sweep sees what came or was orphaned since.
    """
    return replace(archive, swept_at=began_at, postponed_until=0, walk=None)


def interrupted(archive: Archive, walk: Walk, now: Millis, looked_at: Millis) -> Archive:
    """Return an archive whose pass ran out of time: due again at once, behind all that was due before."""
    return replace(archive, walk=walk, postponed_until=now, looked_at=looked_at)


def postponed(archive: Archive, until: Millis) -> Archive:
    return replace(archive, postponed_until=until)
