r"""The stored bytes of an entry from reservation to removal, as values and pure transitions.

    RESERVED --finalized--> STORED --deleted--> DELETED --(objects gone)--> no item
        \-------------deleted (reservation expired)-----^

A transition takes the archive as it was read and returns the archive to write instead. That write is conditional on
nothing having changed in between, so each decision made here still holds when it takes effect.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from actions_cache.domain.entry import Entry, EntryName, Reservation
from actions_cache.domain.entry_class import EntryClass, class_by_form
from actions_cache.domain.timing import Lifetimes, Millis

OCTET_STREAM = "application/octet-stream"
"""Content type of every object in the bucket, so that no browser shows saved bytes as a page."""


@dataclass(frozen=True, slots=True)
class Part:
    """A write-once object. Its ETag pins the bytes: a read that finds another ETag fails."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The parts of an archive in the order of its block list."""

    parts: tuple[Part, ...]

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)


@dataclass(frozen=True, slots=True)
class Commit:
    """The content that an upload was committed with, by its block list or by the Finalize of a Put Blob."""

    digest: str
    size: int
    part_count: int
    manifest: Part | None
    """The object that lists the parts if there are several: 10,000 of them don't fit a DynamoDB item of 400 KB."""
    first_part: Part | None = None
    """The first of several parts, so that a stream can request it while it reads the manifest."""


@dataclass(frozen=True, slots=True)
class DirectUpload:
    """A multipart upload of the archive's own object, into which a client may put blocks past the edge."""

    key: str
    upload_id: str
    digest: str | None = None
    """Digest of the block list that completes it; None before there was one."""
    object: Part | None = None
    """The object that this block list makes of it. It may not be there yet."""


class ArchiveState(StrEnum):
    """The states of an archive, in the order in which it goes through them."""

    RESERVED = "reserved"
    STORED = "stored"
    DELETED = "deleted"


class MergeState(StrEnum):
    """The states of an archive's merge (transitions: domain/claim.py)."""

    UNMERGED = "unmerged"
    QUEUED = "queued"
    RUNNING = "running"
    MERGED = "merged"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """The progress of an archive's merge."""

    state: MergeState = MergeState.UNMERGED
    claim_token: str | None = None
    """Identifies the claim; only a message with this token may start a run."""
    claimed_at: Millis = 0
    sent_at: Millis | None = None
    """Time at which the queue was known to have the claim's message; None before."""
    run_token: str | None = None
    """Identifies the current run; only this run may publish."""
    lease_until: Millis = 0
    """Time from which the current run counts as dead, unless it renews its lease."""
    attempts: int = 0
    """Number of runs that were started since the last claim with a full number of attempts."""
    ended_at: Millis = 0


@dataclass(frozen=True, slots=True)
class Walk:
    """The progress of a pass over an archive's objects, which may take several runs of cleanup."""

    began_at: Millis
    after: str = ""
    """Last key that the pass has listed."""
    objects: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """The stored bytes of an entry, or of an upload that may become one."""

    id: str
    name: EntryName
    saved_as: EntryClass | None = None
    """The class that the saving job's token told; None for archives of releases that didn't note it."""
    state: ArchiveState = ArchiveState.RESERVED
    reserved_at: Millis
    reservation_expires_at: Millis
    upload_closes_at: Millis
    direct: DirectUpload | None = None
    """The multipart upload that was offered to the client; None once it is this archive's object."""
    commit: Commit | None = None
    object: Part | None = None
    """The object that holds all bytes: the only part or the merged object; None while there are several parts."""
    merge: Merge = Merge()
    stored_at: Millis = 0
    last_used_at: Millis = 0
    deleted_at: Millis = 0
    swept_at: Millis = 0
    postponed_until: Millis = 0
    """Time until which cleanup does other archives first, because it failed on this one or may not survive its task."""
    looked_at: Millis = 0
    """Time at which cleanup last looked at what had arrived for the open upload."""
    closed_at: Millis = 0
    """Time at which the upload was closed because too much had arrived; 0 if it wasn't."""
    walk: Walk | None = None
    """Cleanup's unfinished pass over the archive's objects."""
    revision: int = 0
    """Number of writes, counted by the table; each write is conditional on the number that was read."""

    @property
    def size(self) -> int:
        return self.commit.size if self.commit else 0

    @property
    def entry_class(self) -> EntryClass:
        return self.saved_as or class_by_form(self.name.family.scope)

    @property
    def is_stored(self) -> bool:
        return self.state is ArchiveState.STORED

    @property
    def was_visible(self) -> bool:
        """Return whether jobs could ever find the entry, so that it may have readers."""
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


def reserved(
    archive_id: str,
    name: EntryName,
    now: Millis,
    lifetimes: Lifetimes,
    entry_class: EntryClass | None = None,
    direct: DirectUpload | None = None,
) -> Archive:
    """Return a new archive whose reservation holds the name; without a class, it has the one that its ref tells."""
    return Archive(
        id=archive_id,
        name=name,
        saved_as=entry_class,
        reserved_at=now,
        reservation_expires_at=now + lifetimes.reservation,
        upload_closes_at=now + lifetimes.upload_url,
        direct=direct,
    )


def committed(archive: Archive, commit: Commit, only_part: Part | None) -> Archive | None:
    """Return the archive with its content; None if it was committed before or is no longer being uploaded."""
    if archive.state is not ArchiveState.RESERVED or archive.commit is not None:
        return None
    direct = archive.direct
    if direct is not None and only_part is not None and direct.object == only_part:
        direct = None
    return replace(archive, commit=commit, object=only_part, direct=direct)


def completing(archive: Archive, digest: str, made: Part) -> Archive | None:
    """Return the archive whose direct upload is about to become this object, by the block list of this digest.

    It is None if another list was first, or the upload is over. Noted before S3 is asked, it tells a list that comes
    again after a crash from another one, and one object from another.
    """
    direct = archive.direct
    if archive.state is not ArchiveState.RESERVED or archive.commit is not None or direct is None or direct.object:
        return None
    return replace(archive, direct=replace(direct, digest=digest, object=made))


def stored(archive: Archive, now: Millis) -> Archive | None:
    """Return the visible archive; None unless it is committed and its reservation still holds the key."""
    if archive.state is not ArchiveState.RESERVED or archive.commit is None:
        return None
    if archive.reservation_expires_at <= now:
        return None
    return replace(archive, state=ArchiveState.STORED, stored_at=now, last_used_at=now, walk=None)


def used(archive: Archive, now: Millis, lifetimes: Lifetimes) -> Archive | None:
    """Return the archive with this use noted; None if a use was noted recently enough."""
    if not archive.is_stored or now - archive.last_used_at < lifetimes.use_resolution(archive.entry_class):
        return None
    return replace(archive, last_used_at=now)


def ends_at(archive: Archive, used_at: Millis, lifetimes: Lifetimes) -> Millis:
    """Return the end of a stored archive's life if it isn't used again.

    Args:
        archive: a stored archive.
        used_at: its last use, which `last_used_at` may lag behind.
        lifetimes: durations from the settings.
    """
    return used_at + lifetimes.unused[archive.entry_class]


def deleted(archive: Archive, now: Millis) -> Archive | None:
    """Return a tombstone, whose objects stay for its readers' grace; None if the archive was deleted before."""
    if archive.state is ArchiveState.DELETED:
        return None
    return replace(archive, state=ArchiveState.DELETED, deleted_at=now, walk=None)


def closed(archive: Archive, now: Millis) -> Archive | None:
    """Return a tombstone for an upload for which too much arrived; None if it is no longer open."""
    if archive.state is not ArchiveState.RESERVED:
        return None
    return replace(archive, state=ArchiveState.DELETED, deleted_at=now, closed_at=now, walk=None)


def why_gone(archive: Archive | None) -> str:
    """Return the message for a client that continues an upload that is over."""
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
        archive: The archive before the pass.
        began_at: Time at which the pass began. The next sweep sees what arrived or was orphaned since then.
    """
    return replace(archive, swept_at=began_at, postponed_until=0, walk=None)


def interrupted(archive: Archive, walk: Walk, now: Millis, looked_at: Millis) -> Archive:
    """Return an archive whose pass ran out of time. It is due again at once, after all that was due before."""
    return replace(archive, walk=walk, postponed_until=now, looked_at=looked_at)


def postponed(archive: Archive, until: Millis) -> Archive:
    """Return the archive with no cleanup task before this time."""
    return replace(archive, postponed_until=until)
