"""The core's demands on its environment, which the adapters in aws/ meet. A contract suite tests each of them.

Every method may raise Unavailable: the service didn't respond, or not as it should, even after the adapter's own
retries. Whether a write took effect is then unknown.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, Self

from actions_cache.domain.archive import Archive, DirectUpload, Part
from actions_cache.domain.budgets import Hits, Repository, RepositoryUsage, Tally, Usage
from actions_cache.domain.direct_upload import DirectUrls, SentPart
from actions_cache.domain.entry import Entry, EntryFamily, EntryName, Reservation
from actions_cache.domain.entry_class import EntryClass
from actions_cache.domain.key_family import FamilyPair
from actions_cache.domain.part_list import PartList
from actions_cache.domain.ranges import PartRange
from actions_cache.domain.refused_job import Refusals
from actions_cache.domain.timing import Millis
from actions_cache.events import Event


class Unavailable(Exception):
    """Raised when a dependency didn't respond, or not as it should."""


class WriteConflict(Exception):
    """Raised when a conditional write lost: what it was decided on has changed. Read, decide and write again."""


class ObjectGone(Exception):
    """Raised when the bucket confirms that a pinned object isn't there: no object, or another one under its key."""

    def __init__(self, part: Part) -> None:
        super().__init__(f"{part.key} with ETag {part.etag} isn't in the bucket")
        self.part = part


class Unreadable(ObjectGone):
    """Raised when the pinned object is there, byte for byte, but can't be read."""


class WrongBytes(Unavailable):
    """Raised when S3 returned, took or copied other bytes than an object's ETag stands for. A retry may succeed."""

    def __init__(self, part: Part, why: str) -> None:
        super().__init__(f"{part.key} with ETag {part.etag}: {why}")
        self.part = part


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> Millis: ...


class TokenSource(Protocol):
    """Makes random tokens."""

    def new(self) -> str:
        """Return 32 random hexadecimal digits, which can't be guessed and never repeat."""
        ...


class Telemetry(Protocol):
    """Shows people what happens. No method raises, and nothing waits for it."""

    def emit(self, event: Event) -> None: ...

    def about(self, archive: Archive) -> None:
        """Add the archive to every event of this request from now on."""
        ...


# ---------------------------------------------------------------- tables


REMOVED_AT_ONCE = 25
"""Most archives of one Table.remove_entries: each takes up to three of a transaction's 100 items. More: fewer requests.
Fewer: less is done again one by one when one of them has changed."""


class Table(Protocol):
    """Stores entries, reservations and archives.

    Reads are consistent, except those that use an index, which may lag behind writes.
    """

    def entry(self, name: EntryName) -> Entry | None: ...

    def entries(self, names: Sequence[EntryName]) -> Mapping[EntryName, Entry]:
        """Return the existing entries among at most 100 different names, in one request."""
        ...

    def newest_entry(self, family: EntryFamily, prefix: str) -> Entry | None:
        """Return the entry that was created last among those whose key begins with the prefix."""
        ...

    def reservation(self, name: EntryName) -> Reservation | None:
        """Return the reservation that holds the name, even if it has expired."""
        ...

    def archive(self, archive_id: str) -> Archive | None: ...

    def archives(self, ids: Sequence[str]) -> Mapping[str, Archive]:
        """Return the existing archives among at most 100 different ids, in one request."""
        ...

    def replace_archive(self, current: Archive, updated: Archive) -> Archive:
        """Replace the archive that was read.

        Returns:
            The archive as written, with its new revision.

        Raises:
            WriteConflict: the archive has changed since it was read.
        """
        ...

    def reserve(self, archive: Archive, now: Millis) -> None:
        """Add the archive and its reservation, both or neither.

        Raises:
            WriteConflict: an entry has the name, or an unexpired reservation holds it.
        """
        ...

    def publish_entry(self, current: Archive, updated: Archive) -> Archive:
        """Add the archive's entry, count it, delete its reservation and replace the archive: all or nothing.

        Returns:
            The archive as written, with its new revision.

        Raises:
            WriteConflict: the archive has changed, another reservation holds the name, or an entry has it.
        """
        ...

    def remove_entry(self, current: Archive, updated: Archive) -> Archive:
        """Delete the archive's entry, subtract it from the usage and replace the archive: all or nothing.

        Returns:
            The archive as written, with its new revision.

        Raises:
            WriteConflict: the archive has changed, or the entry belongs to another archive.
        """
        ...

    def remove_entries(self, removals: Sequence[tuple[Archive, Archive]]) -> None:
        """Do what remove_entry does for several archives in one request: for all of them or for none.

        Args:
            removals: Pairs of the archive as read and as updated, at most REMOVED_AT_ONCE of them.

        Raises:
            WriteConflict: one of them has changed, or its entry belongs to another archive.
        """
        ...

    def drop_reservation(self, reservation: Reservation) -> None:
        """Delete the reservation if it still holds its name for this archive."""
        ...

    def forget_archive(self, current: Archive) -> None:
        """Delete the archive that was read.

        Raises:
            WriteConflict: the archive has changed since it was read.
        """
        ...

    def note_batch(self, ids: Sequence[str]) -> None:
        """Note the archives that a run of cleanup does together next, in place of those noted before."""
        ...

    def noted_batch(self) -> frozenset[str]:
        """Return the archives that were noted last: after a run that died, those that it was busy with."""
        ...

    def due_archives(self, now: Millis) -> Iterator[str]:
        """Yield the ids of archives whose next cleanup task is due, starting anywhere. Uses an index, page by page."""
        ...

    def stored_archives(
        self,
        repository: str,
        *,
        entry_class: EntryClass | None = None,
        newest_use_first: bool = False,
        at_once: int | None = None,
    ) -> Iterator[Archive]:
        """Yield the archives whose entries jobs can find, by last use. Uses an index, page by page.

        Args:
            repository: The repository of the entries.
            entry_class: The class of the entries; None for all, which takes a query each. What a release without
                classes wrote counts as the default branch's here, until it is written again.
            newest_use_first: True to begin with the last use instead of the first.
            at_once: The size of a page, if no more archives are needed.
        """
        ...

    def failed_archives(self) -> Iterator[str]:
        """Yield the ids of archives that jobs can find and whose merge has failed. Uses an index."""
        ...

    def known_archives(self, ids: Sequence[str]) -> frozenset[str]:
        """Return the ids of existing archives among at most 100 ids."""
        ...

    def all_archives(self, after: str) -> Iterator[tuple[str, bool]]:
        """Yield ids of archives, each with whether the archive is outdated.

        An archive is outdated if this release, with its settings, would write it differently, or can't read it.

        Args:
            after: The id after which to continue, in the table's own order; "" for all.
        """
        ...

    def check(self) -> None:
        """Check that the table responds.

        Raises:
            Unavailable: it doesn't.
        """
        ...


class Repositories(Protocol):
    """Stores data about repositories beside their entries. Counts are exact unless a method says otherwise."""

    def note(self, repository: Repository) -> None:
        """Store the repository and its name."""
        ...

    def repository(self, repository_id: str) -> Repository | None: ...

    def ids(self) -> Sequence[str]:
        """Return the sorted ids of all repositories that were ever noted."""
        ...

    def noted_usages(self) -> Mapping[str, RepositoryUsage | None]:
        """Return each repository of ids(), in their order, with what note_usage noted last, if it did: in one read."""
        ...

    def note_usage(self, usage: RepositoryUsage) -> None:
        """Note what a repository keeps, in all and not by class, for noted_usages."""
        ...

    def some_ids(self, most: int) -> Sequence[str]:
        """Return so many ids of ids(), or all if there are fewer, beginning anywhere: in two requests at most."""
        ...

    def ids_named(self, name: str) -> Sequence[str]:
        """Return the ids of all repositories that ever had the name, in upper or lower case."""
        ...

    def usage(self, repository_id: str) -> Usage:
        """Return the usage that Table.publish_entry and Table.remove_entry have counted."""
        ...

    def store_usage(self) -> Usage: ...

    def correct_usage(self, repository_id: str, change: Usage) -> None:
        """Add the change to the usage of the repository and of the store, both or neither."""
        ...

    def correct_store_usage(self, change: Usage) -> None:
        """Add the change to the usage of the store alone."""
        ...

    def count_create(self, repository_id: str, minute: int) -> int:
        """Count an upload that is begun, and return their number in this minute."""
        ...

    def add_tally(self, repository_id: str, hour: Millis, tally: Tally, pair: FamilyPair | None = None) -> None:
        """Add the tally, which is kept for a month. A retry whose first response was lost counts twice.

        Args:
            repository_id: The repository's id.
            hour: The beginning of the hour.
            tally: What is added.
            pair: The key families that it is about; None for any others.
        """
        ...

    def tallies(self, repository_id: str, since: Millis) -> Mapping[Millis, Tally]:
        """Return the tallies by hour, without hours in which nothing happened."""
        ...

    def tallies_by_family(self, repository_id: str, since: Millis) -> Iterator[tuple[FamilyPair | None, Tally]]:
        """Yield pieces of the tallies, the latest hour first, page by page; a pair may come any number of times."""
        ...

    def family_pairs(self, repository_id: str, hour: Millis) -> AbstractSet[FamilyPair]:
        """Return the pairs that have a tally in this hour. Those of the last second may be missing."""
        ...

    def add_hit(self, repository_id: str, archive_id: str, at: Millis, forget_at: Millis) -> None: ...

    def hits_of(self, repository_id: str, archive_id: str) -> Hits: ...

    def hits(self, repository_id: str) -> Iterator[tuple[str, Hits]]:
        """Yield hits with the archive's id, page by page, without archives that were never found."""
        ...

    def add_refusals(self, refusals: Refusals, forget_at: Millis) -> None:
        """Add to the refusals of the same repository, or take a slot that another left alone for SLOT_PAUSE.

        Raises:
            WriteConflict: the slot's repository was refused just now.
        """
        ...

    def refusals(self) -> Sequence[Refusals]:
        """Return the refusals in all slots, expired ones included until they are deleted."""
        ...


# ---------------------------------------------------------------- bucket


@dataclass(frozen=True, slots=True)
class MultipartUpload:
    """A multipart upload that was started."""

    key: str
    upload_id: str

    @classmethod
    def of(cls, direct: DirectUpload) -> Self:
        """Return an archive's direct upload as the bucket knows it."""
        return cls(direct.key, direct.upload_id)


@dataclass(frozen=True, slots=True)
class UploadedPart:
    """A part of a multipart upload."""

    number: int
    etag: str


class Bucket(Protocol):
    """Stores objects."""

    def list(self, prefix: str, after: str = "") -> Iterator[Part]:
        """Yield the objects whose keys begin with the prefix and come after this key, in order, page by page."""
        ...

    def archive_ids(self, after: str) -> Iterator[str]:
        """Yield the ids of archives that have objects, in order, after this one; "" for all."""
        ...

    def stat(self, key: str) -> Part | None:
        """Return the object under the key; None only if its absence is confirmed."""
        ...

    def read(self, source: PartRange) -> bytes:
        """Return the bytes. Those of a whole object are compared with its ETag, if that is an MD5.

        Raises:
            ObjectGone: the object isn't there.
            WrongBytes: the bytes differ from the ETag, even after retries.
        """
        ...

    def write_once(self, key: str, body: bytes) -> Part:
        """Write a new object.

        Raises:
            WriteConflict: the key is taken.
        """
        ...

    def delete(self, keys: Sequence[str]) -> None:
        """Delete any number of keys; a missing one is no error."""
        ...

    def presign_download(self, part: Part, seconds: int) -> str: ...

    def presign_parts(self, parts: Iterable[Part], seconds: int) -> PartList:
        """Return presigned URLs of the parts, which are good for so long, and together cost one's processor time."""
        ...

    def presign_uploads(self, upload: MultipartUpload, blob_key: str, seconds: int) -> DirectUrls:
        """Return presigned URLs to put parts into the upload, or one new object under `blob_key`."""
        ...

    def start_upload(self, key: str) -> MultipartUpload: ...

    def sent_parts(self, upload: MultipartUpload) -> Sequence[SentPart] | None:
        """Return the parts that have arrived; None if there is no such upload: completed, aborted, or never started."""
        ...

    def copy_part(self, upload: MultipartUpload, number: int, source: PartRange) -> UploadedPart:
        """Copy bytes inside the bucket; the caller compares the returned ETag with the one it expects.

        Raises:
            ObjectGone: the source isn't there.
        """
        ...

    def upload_part(self, upload: MultipartUpload, number: int, body: bytes) -> UploadedPart: ...

    def complete_upload(self, upload: MultipartUpload, parts: Sequence[UploadedPart]) -> None:
        """Make the object of these parts. The caller looks at the object, which others may have made before."""
        ...

    def abort_upload(self, upload: MultipartUpload) -> None:
        """Abort the upload; one that is over is no error."""
        ...

    def uploads(self, prefix: str) -> Iterator[tuple[MultipartUpload, Millis]]:
        """Yield the unfinished uploads of keys that begin with the prefix, each with the time when it was started."""
        ...

    def check(self) -> None:
        """Check that the bucket responds.

        Raises:
            Unavailable: it doesn't.
        """
        ...


Chunk = bytes | memoryview
"""Bytes in transit, as many as arrived at once."""


class PartReader(Protocol):
    """Streams parts out of the bucket."""

    def read(self, source: PartRange) -> AsyncGenerator[Chunk, None]:
        """Yield all bytes as they arrive, or raise an error.

        Raises:
            ObjectGone: the object isn't there; raised before the first byte.
            Unavailable: the stream broke, at any byte. A request for the rest may succeed.
        """
        ...


class PartWriter(Protocol):
    """Streams parts into the bucket."""

    async def write(self, key: str, size: int, body: AsyncIterator[bytes]) -> Part:
        """Write one object of `size` bytes, or none.

        Raises:
            Unavailable: S3 doesn't take it.
            Exception: the body raised an error; nothing was written.
        """
        ...


# ---------------------------------------------------------------- merge queue


@dataclass(frozen=True, slots=True)
class MergeMessage:
    """The order to merge an archive, which is void once the claim has another token."""

    archive_id: str
    claim_token: str


class MergeQueue(Protocol):
    """Delivers merge messages to the merge function."""

    def send(self, message: MergeMessage) -> None: ...

    def deliver_again_in(self, receipt_handle: str, seconds: int) -> None:
        """Bring back a message whose merge failed sooner than its visibility timeout would."""
        ...

    def give_up(self, body: str) -> None:
        """Put a message that can't be processed into the dead-letter queue unchanged.

        Raises:
            Unavailable: the message may not be there, so it must be delivered again.
        """
        ...

    def check(self) -> None:
        """Check that the queue responds.

        Raises:
            Unavailable: it doesn't.
        """
        ...


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message in the dead-letter queue."""

    id: str
    body: str
    message: MergeMessage | None
    """The decoded body; None if it isn't a merge message."""
    sent_at: Millis
    receipt_handle: str = field(repr=False)


class DeadLetters(Protocol):
    """Reads the dead-letter queue of the merge queue."""

    def count(self) -> int:
        """Return the approximate number of dead letters."""
        ...

    def held(self) -> AbstractContextManager[Sequence[DeadLetter]]:
        """Hide all dead letters from others during the block, for at most 15 minutes. Those not deleted stay."""
        ...

    def delete(self, dead_letter: DeadLetter) -> None: ...
