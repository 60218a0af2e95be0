"""What the core needs from outside, as obligations. The adapters meet them; one contract suite tests each.

Every method may raise Unavailable: the service didn't answer, or not as it should, after the adapter's own
retries. Whether a write took effect is then unknown.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from actions_cache.domain.archive import Archive, Part
from actions_cache.domain.budgets import Hits, Repository, Tally, Usage
from actions_cache.domain.entry import Entry, EntryFamily, EntryName, Reservation
from actions_cache.domain.ranges import PartRange
from actions_cache.domain.refused_job import Refusals
from actions_cache.domain.timing import Millis
from actions_cache.events import Event


class Unavailable(Exception):
    """A dependency didn't answer, or not as it should."""


class WriteConflict(Exception):
    """A conditional write lost: what it was decided on has changed. Read, decide and write again."""


class ObjectGone(Exception):
    """The bucket confirms that the pinned object isn't there: no object, or other bytes under its key."""

    def __init__(self, part: Part) -> None:
        super().__init__(f"{part.key} with ETag {part.etag} isn't in the bucket")
        self.part = part


class Unreadable(ObjectGone):
    """Raised when the pinned object is there, byte for byte, but can't be read."""


class WrongBytes(Unavailable):
    """Of the object, the store gave, took or copied other bytes than its ETag stands for. Another try may succeed."""

    def __init__(self, part: Part, why: str) -> None:
        super().__init__(f"{part.key} with ETag {part.etag}: {why}")
        self.part = part


class Clock(Protocol):
    def now(self) -> Millis: ...


class TokenSource(Protocol):
    def new(self) -> str:
        """32 random hexadecimal digits: unguessable, and never given twice."""
        ...


class Telemetry(Protocol):
    """What people see of the work. Nothing here raises, and nothing waits for it."""

    def emit(self, event: Event) -> None: ...

    def about(self, archive: Archive) -> None:
        """What else this request tells is about this archive."""
        ...


class Table(Protocol):
    """Entries, reservations and archives. Reads are consistent but those by an index, which may lag behind writes."""

    def entry(self, name: EntryName) -> Entry | None: ...

    def entries(self, names: Sequence[EntryName]) -> Mapping[EntryName, Entry]:
        """Those of at most 100 names, no two alike, that are an entry's. One request."""
        ...

    def newest_entry(self, family: EntryFamily, prefix: str) -> Entry | None:
        """The entry created last among those whose key begins with the prefix."""
        ...

    def reservation(self, name: EntryName) -> Reservation | None:
        """Expired ones too."""
        ...

    def archive(self, archive_id: str) -> Archive | None: ...

    def replace_archive(self, current: Archive, updated: Archive) -> Archive:
        """Writes `by` if nothing was written since `seen` was read.

        Returns: what was written, with its new revision.
        Raises: WriteConflict otherwise.
        """
        ...

    def reserve(self, archive: Archive, now: Millis) -> None:
        """Adds the archive and its reservation, both or neither.

        Raises: WriteConflict when the name is an entry's, or a reservation holds it that hasn't expired.
        """
        ...

    def publish_entry(self, current: Archive, updated: Archive) -> Archive:
        """Makes the archive's entry visible, counts it, drops its reservation and replaces the archive, or nothing.

        Returns: what was written, with its new revision.
        Raises: WriteConflict when the archive changed, another reservation holds the name, or an entry has it.
        """
        ...

    def remove_entry(self, current: Archive, updated: Archive) -> Archive:
        """Removes the archive's entry from table and count, and replaces the archive, or nothing.

        Returns: what was written, with its new revision.
        Raises: WriteConflict when the archive changed, or the entry isn't this archive's.
        """
        ...

    def drop_reservation(self, reservation: Reservation) -> None:
        """Deletes it, if it still holds its name for this archive."""
        ...

    def forget_archive(self, current: Archive) -> None:
        """Raises: WriteConflict when the archive changed."""
        ...

    def due_archives(self, now: Millis) -> Iterator[str]:
        """Ids of archives whose next duty is due, page by page, starting anywhere. By an index."""
        ...

    def stored_archives(
        self, repository: str, *, newest_use_first: bool = False, at_once: int | None = None
    ) -> Iterator[Archive]:
        """Those whose entries jobs can find, by their last use, page by page. By an index.

        Args: at_once: in a page, where it is known that no more are wanted.
        """
        ...

    def failed_archives(self) -> Iterator[str]:
        """Ids of those that jobs can find, and whose merge failed for good. By an index."""
        ...

    def known_archives(self, ids: Sequence[str]) -> frozenset[str]:
        """Those of at most 100 ids that are an archive's."""
        ...

    def all_archives(self, after: str) -> Iterator[tuple[str, bool]]:
        """Ids that come after this one in an order of the table's own, "" for all, each with whether it is outdated.

        That is: whether it stands otherwise than this release would write it, by its settings; or can't be read.
        """
        ...

    def check(self) -> None:
        """Raises: Unavailable when it doesn't answer."""
        ...


class Repositories(Protocol):
    """What is known of each repository beside its entries. Counts are exact unless it says otherwise."""

    def note(self, repository: Repository) -> None:
        """Remembers it, and that it has its name."""
        ...

    def repository(self, repository_id: str) -> Repository | None: ...

    def ids(self) -> Sequence[str]:
        """Of all that were ever noted, in their order."""
        ...

    def ids_named(self, name: str) -> Sequence[str]:
        """Of those that ever had the name, in any case of letters."""
        ...

    def usage(self, repository_id: str) -> Usage:
        """Of what Table.publish_entry and Table.remove_entry counted."""
        ...

    def store_usage(self) -> Usage: ...

    def correct_usage(self, repository_id: str, updated: Usage) -> None:
        """Adds to the repository's usage and to the store's, both or neither."""
        ...

    def correct_store_usage(self, updated: Usage) -> None:
        """Adds to the store's alone."""
        ...

    def count_create(self, repository_id: str, minute: int) -> int:
        """Returns: how many there were in that minute, with this one."""
        ...

    def add_tally(self, repository_id: str, hour: Millis, tally: Tally) -> None:
        """Kept for a month. A retry whose first answer was lost counts twice."""
        ...

    def tallies(self, repository_id: str, since: Millis) -> Mapping[Millis, Tally]:
        """By the hour, without those in which nothing was done."""
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


@dataclass(frozen=True, slots=True)
class MultipartUpload:
    key: str
    upload_id: str


@dataclass(frozen=True, slots=True)
class UploadedPart:
    number: int
    etag: str


class Bucket(Protocol):
    def list(self, prefix: str, after: str = "") -> Iterator[Part]:
        """Yield the objects whose keys begin with the prefix and come after this key, in order, page by page."""
        ...

    def archive_ids(self, after: str) -> Iterator[str]:
        """Of which there are objects, in the order of the ids, those that come after this one; "" for all."""
        ...

    def stat(self, key: str) -> Part | None:
        """None only on a confirmed absence."""
        ...

    def read(self, source: PartRange) -> bytes:
        """Of a whole object, the bytes that its ETag is the MD5 of, where it is one.

        Raises:
            ObjectGone: it isn't there.
            WrongBytes: others came, time and again.
        """
        ...

    def write_once(self, key: str, body: bytes) -> Part:
        """Raises: WriteConflict when the key is taken."""
        ...

    def delete(self, keys: Sequence[str]) -> None:
        """Any number of keys; a missing one is no error."""
        ...

    def presign_download(self, part: Part, seconds: int) -> str: ...

    def start_upload(self, key: str) -> MultipartUpload: ...

    def copy_part(self, upload: MultipartUpload, number: int, source: PartRange) -> UploadedPart:
        """The store says by the ETag what it copied; whether that is right is for the caller to see.

        Raises: ObjectGone.
        """
        ...

    def upload_part(self, upload: MultipartUpload, number: int, body: bytes) -> UploadedPart: ...

    def complete_upload(self, upload: MultipartUpload, parts: Sequence[UploadedPart]) -> None: ...

    def abort_upload(self, upload: MultipartUpload) -> None: ...

    def check(self) -> None:
        """Raises: Unavailable when it doesn't answer."""
        ...


@dataclass(frozen=True, slots=True)
class MergeMessage:
    archive_id: str
    claim_token: str


class MergeQueue(Protocol):
    def send(self, message: MergeMessage) -> None: ...

    def deliver_again_in(self, receipt_handle: str, seconds: int) -> None:
        """Brings a message whose merge failed back sooner than its visibility timeout would."""
        ...

    def give_up(self, body: str) -> None:
        """Put a message that can't be processed into the dead-letter queue, as it came.

        Raises:
            Unavailable: it may not be there, so the message must come again.
        """
        ...

    def check(self) -> None:
        """Raises: Unavailable when it doesn't answer."""
        ...


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that the queue gave up on."""

    id: str
    body: str
    message: MergeMessage | None
    """None where the body isn't one."""
    sent_at: Millis
    receipt_handle: str = field(repr=False)


class DeadLetters(Protocol):
    def count(self) -> int:
        """About so many messages that nobody could work off."""
        ...

    def held(self) -> AbstractContextManager[Sequence[DeadLetter]]:
        """All, hidden from others for as long as the block runs, and 15 minutes at most. What isn't deleted stays."""
        ...

    def delete(self, dead_letter: DeadLetter) -> None: ...


Chunk = bytes | memoryview
"""Bytes on their way, as many as came at once."""


class PartReader(Protocol):
    def read(self, source: PartRange) -> AsyncGenerator[Chunk, None]:
        """The bytes as they come: all of them, or an error.

        Raises:
            ObjectGone: before the first byte.
            Unavailable: anywhere; asking again for the rest may succeed.
        """
        ...


class PartWriter(Protocol):
    async def write(self, key: str, size: int, body: AsyncIterator[bytes]) -> Part:
        """Write one object of `size` bytes, or none.

        Raises:
            Unavailable: the store doesn't take it.
            Exception: whatever the body raises; nothing is written.
        """
        ...
