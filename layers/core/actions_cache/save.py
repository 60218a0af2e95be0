"""Save an entry: reserve a key, receive its parts, commit the upload, finalize.

The classes stand in the order in which a job's requests arrive. Nothing is visible to readers before Finalize.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass

from actions_cache import events
from actions_cache.activity import NoteActivity
from actions_cache.archives import MAX_ROUNDS, ClaimMerge, Manifests, RemoveBroken, arrivals, transition
from actions_cache.direct import CompleteDirect, OfferDirect
from actions_cache.domain.archive import (
    Archive,
    ArchiveState,
    DirectUpload,
    Part,
    committed,
    reserved,
    stored,
    why_gone,
)
from actions_cache.domain.budgets import Budgets
from actions_cache.domain.claim import needs_merge
from actions_cache.domain.direct_upload import DirectUrls
from actions_cache.domain.entry import Entry, EntryName, numbered_archive_id
from actions_cache.domain.entry_class import EntryClass
from actions_cache.domain.errors import (
    AlreadyExists,
    CommittedDifferently,
    InvalidRequest,
    NotFound,
    TooLarge,
    TooManyRequests,
    TryAgain,
)
from actions_cache.domain.object_keys import ArchiveKeys
from actions_cache.domain.ranges import ByteRange
from actions_cache.domain.signing import Direction
from actions_cache.domain.timing import SECOND, Lifetimes, Millis
from actions_cache.domain.uploads import (
    APPENDED_DIGEST,
    MAX_BLOCKS,
    WholeBlob,
    assemble,
    assemble_chunks,
    block_list_digest,
    check_names_each_once,
    chunks_digest,
    newest_arrivals,
    whole_blob,
)
from actions_cache.evict import Evict
from actions_cache.ports import (
    Bucket,
    Clock,
    ObjectGone,
    PartWriter,
    Repositories,
    Table,
    Telemetry,
    TokenSource,
    Unavailable,
    WriteConflict,
)
from actions_cache.urls import UrlSigner

MINUTE: Millis = 60 * SECOND


@dataclass(frozen=True, slots=True)
class CreateRateLimit:
    """Limits the uploads that one repository begins in a minute.

    Args:
        repositories: counts them.
        clock: tells the minute.
        creates_per_minute: None for no limit.
    """

    repositories: Repositories
    clock: Clock
    creates_per_minute: int | None

    def check(self, repository: str) -> None:
        """Count an upload that is about to begin.

        Raises:
            TooManyRequests: the repository has begun as many in this minute as it may.
        """
        if self.creates_per_minute is None:
            return
        minute, passed = divmod(self.clock.now(), MINUTE)
        if self.repositories.count_create(repository, minute) > self.creates_per_minute:
            raise TooManyRequests(
                f"this repository has begun {self.creates_per_minute} uploads in this minute, and may begin no more "
                "before the next (CREATES_PER_MINUTE)",
                retry_after_seconds=max(1, (MINUTE - passed) // SECOND),
            )


@dataclass(frozen=True, slots=True)
class Reserve:
    """Holds a key for one upload."""

    table: Table
    clock: Clock
    tokens: TokenSource
    urls: UrlSigner
    lifetimes: Lifetimes
    telemetry: Telemetry
    offer_direct: OfferDirect

    def __call__(self, name: EntryName, entry_class: EntryClass | None = None) -> str:
        """Reserve the key, and return the path, with its query, to upload to.

        Args:
            name: the entry's.
            entry_class: the class that the job's token tells; None if only the ref is known.

        Raises:
            AlreadyExists: the key is saved or validly reserved.
        """
        return self._upload_path(self._reserved(self.tokens.new(), name, entry_class))

    def with_direct(
        self, name: EntryName, entry_class: EntryClass | None, server_url: str
    ) -> tuple[str, DirectUrls | None]:
        """Reserve the key, and return the path to upload to and, if S3 has them, URLs to upload to past the edge.

        The multipart upload is started first, so that the reservation knows it by the same write.

        Args:
            name: the entry's.
            entry_class: the class that the job's token tells; None if only the ref is known.
            server_url: the beginning of the server's URLs, as the client asks it.

        Raises:
            AlreadyExists: the key is saved or validly reserved.
        """
        archive_id = self.tokens.new()
        offered = self.offer_direct(archive_id, server_url)
        if offered is None:
            return self._upload_path(self._reserved(archive_id, name, entry_class)), None
        direct, urls = offered
        try:
            archive = self._reserved(archive_id, name, entry_class, direct)
        except Exception:
            self.offer_direct.withdraw(direct)
            raise
        return self._upload_path(archive), urls

    def numbered(self, name: EntryName, entry_class: EntryClass | None = None) -> int:
        """Reserve the key, and return the number by which the v1 API's client names the upload.

        The number is never 0, which is falsy in JavaScript.

        Raises:
            AlreadyExists: the key is saved or validly reserved.
        """
        number = int(self.tokens.new()[:13], 16) or 1
        self._reserved(numbered_archive_id(number), name, entry_class)
        return number

    def _upload_path(self, archive: Archive) -> str:
        return self.urls.sign(Direction.UPLOAD, archive.id, archive.upload_closes_at)

    def _reserved(
        self, archive_id: str, name: EntryName, entry_class: EntryClass | None, direct: DirectUpload | None = None
    ) -> Archive:
        now = self.clock.now()
        archive = reserved(archive_id, name, now, self.lifetimes, entry_class, direct)
        try:
            self.table.reserve(archive, now)
        except WriteConflict:
            raise AlreadyExists(f"the key {name.key!r} is saved, or being saved by another job") from None
        self.telemetry.emit(events.reserved(archive))
        return archive


@dataclass(frozen=True, slots=True)
class ReceivePart:
    """Stores what a client sends: each arrival is one new object, and nothing else is written.

    Parts are write-once, so that a late or repeated PUT can't change what was committed. On AWS the edge stores most of
    them and no function sees their bytes; what arrived is learnt from the bucket, at the block list and at Finalize.
    """

    writer: PartWriter
    clock: Clock
    tokens: TokenSource

    async def __call__(self, archive_id: str, block_id: str | None, size: int, body: AsyncIterator[bytes]) -> Part:
        """Store a block or, without a block id, a whole blob.

        Raises:
            InvalidRequest: the block id isn't base64.
        """
        keys, arrived_at, request_id = ArchiveKeys(archive_id), self.clock.now(), self.tokens.new()
        key = keys.blob(arrived_at, request_id)
        if block_id is not None:
            key = keys.block(block_id, arrived_at, request_id)
        return await self.writer.write(key, size, body)

    async def new_append(self, archive_id: str) -> Part:
        """Create an append blob, which replaces what was appended before."""
        key = ArchiveKeys(archive_id).new_append(self.clock.now(), self.tokens.new())
        return await self.writer.write(key, 0, _nothing())

    async def appended(self, archive_id: str, offset: str | None, size: int, body: AsyncIterator[bytes]) -> Part:
        """Store an Append Block, at the offset that its client names, if it names one."""
        key = ArchiveKeys(archive_id).appended(offset, self.clock.now(), self.tokens.new())
        return await self.writer.write(key, size, body)

    async def chunk(self, archive_id: str, place: ByteRange, body: AsyncIterator[bytes]) -> Part:
        """Store a chunk of the v1 API. Only its place tells its length, since the request has no Content-Length.

        Raises:
            InvalidRequest: the body has another length; nothing is stored then.
        """
        key = ArchiveKeys(archive_id).chunk(place, self.clock.now(), self.tokens.new())
        return await self.writer.write(key, place.size, _exactly(place.size, body))


async def _nothing() -> AsyncIterator[bytes]:
    yield b""


async def _exactly(size: int, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the body, and raise InvalidRequest before its last piece unless it has exactly `size` bytes."""
    held, received = b"", 0
    async for piece in body:
        received += len(piece)
        if received > size:
            break
        if held:
            yield held
        held = piece
    if received != size:
        excess = "more" if received > size else f"only {received}"
        raise InvalidRequest(f"Content-Range announces {size} bytes, but {excess} came")
    yield held


@dataclass(frozen=True, slots=True)
class CommitUpload:
    """Fixes which of the arrived parts, in which order, make up the archive.

    One algorithm serves four protocols: list what arrived, assemble the parts, write the manifest, and change the
    archive's state on condition that nobody has committed it. The protocols differ in what orders the parts. Committing
    the same again succeeds, since the first answer may have been lost; committing anything else is refused.
    """

    table: Table
    bucket: Bucket
    manifests: Manifests
    clock: Clock
    complete_direct: CompleteDirect

    def block_list(self, archive_id: str, block_ids: Sequence[str]) -> None:
        """Commit blocks in the order of their list (Put Block List).

        Raises:
            TooLarge: more blocks than Azure allows, or more arrived than a request has time to list.
            InvalidBlockList: the list names a block that never arrived, or names one twice.
            CommittedDifferently: the upload was committed with another list.
            NotFound: the upload is gone: it was never finished in time, or its entry was removed.
        """
        if len(block_ids) > MAX_BLOCKS:
            raise TooLarge(f"the block list names {len(block_ids)} blocks; at most {MAX_BLOCKS} are allowed")
        digest = block_list_digest(block_ids)

        def assembled(keys: ArchiveKeys) -> WholeBlob:
            check_names_each_once(block_ids)
            return WholeBlob(digest, assemble(keys, block_ids, self._arrived(keys.blocks_prefix)))

        archive = self.complete_direct(archive_id, digest, block_ids)
        if self._commit(archive, assembled) != digest:
            raise CommittedDifferently("this upload was committed with another block list; what was committed stays")

    def seal(self, archive_id: str) -> None:
        """Commit what was appended until now (Append Blob Seal).

        Raises:
            InvalidRequest: the pieces don't follow each other, or a Put Blob replaced them.
            TooLarge: more arrived than a request has time to list.
            CommittedDifferently: the upload was committed as something else.
            NotFound: no append blob was begun, or the upload is gone: never finished in time, or its entry was removed.
        """

        def assembled(keys: ArchiveKeys) -> WholeBlob:
            blob = whole_blob(keys, self._arrived(keys.parts_prefix))
            if blob is None:
                raise NotFound("there is no append blob to seal; create it first")
            if blob.digest != APPENDED_DIGEST:
                raise InvalidRequest("a Put Blob replaced what was appended; only an append blob can be sealed")
            return blob

        if self._commit(self.table.archive(archive_id), assembled) != APPENDED_DIGEST:
            raise CommittedDifferently("this upload was committed otherwise than by appending; that stays")

    def chunks(self, archive: Archive, size: int) -> None:
        """Commit chunks in the order of their bytes (the v1 API's commit).

        Args:
            archive: as it was read.
            size: bytes that the client says it sent.

        Raises:
            InvalidRequest: the chunks aren't `size` bytes without a gap. Nothing was changed.
            TooLarge: more arrived than a request has time to list.
            NotFound: the upload is gone.
        """

        def assembled(keys: ArchiveKeys) -> WholeBlob:
            parts = assemble_chunks(keys, size, self._arrived(keys.chunks_prefix))
            return WholeBlob(chunks_digest(size), parts)

        self._commit(archive, assembled)

    def at_finalize(self, archive: Archive, size: int) -> Archive:
        """Return the archive with its parts fixed; the caller writes it together with the entry.

        A Put Blob has no block list, so Finalize is what commits it. The same goes for what was appended and never
        sealed: Azure's SDK doesn't seal.

        Raises:
            InvalidRequest: nothing arrived, or not `size` bytes. No manifest was written then.
        """
        if archive.commit is not None:
            return archive
        keys = ArchiveKeys(archive.id)
        blob = whole_blob(keys, self._arrived(keys.parts_prefix))
        if blob is None:
            raise InvalidRequest(f"nothing was uploaded for the key {archive.name.key!r}, or no block list followed")
        check_size(archive.name, size, blob.size)
        commit, only_part = self.manifests.commit(keys, blob.parts, blob.digest)
        return committed(archive, commit, only_part) or archive

    def _commit(self, archive: Archive | None, assembled: Callable[[ArchiveKeys], WholeBlob]) -> str:
        """Commit the upload unless it is committed, and return the digest of what it is committed as."""
        if archive is not None and archive.state is ArchiveState.RESERVED and archive.commit is None:
            keys = ArchiveKeys(archive.id)
            blob = assembled(keys)
            commit, only_part = self.manifests.commit(keys, blob.parts, blob.digest)
            written = transition(self.table, archive.id, lambda current: committed(current, commit, only_part))
            archive = written or self.table.archive(archive.id)
        if archive is None or archive.state is ArchiveState.DELETED or archive.commit is None:
            raise NotFound(why_gone(archive))
        return archive.commit.digest

    def _arrived(self, prefix: str) -> Iterable[Part]:
        return arrivals(self.bucket, self.clock, prefix)


@dataclass(frozen=True, slots=True)
class Finalize:
    """Makes an upload visible as an entry, starts its merge, and makes room for it."""

    table: Table
    clock: Clock
    commit: CommitUpload
    claim_merge: ClaimMerge
    evict: Evict
    note_activity: NoteActivity
    budgets: Budgets
    merges_at_finalize: bool
    telemetry: Telemetry

    def __call__(self, name: EntryName, size: int, archive_id: str | None = None) -> Entry:
        """Publish the upload that holds the key. The same Finalize again returns the same entry.

        Args:
            name: the entry's.
            size: bytes that the client sent.
            archive_id: the upload that is meant, where the protocol says so (v1); any other is left alone.

        Raises:
            NotFound: nothing holds the key: never reserved, or expired.
            InvalidRequest: `size` isn't what arrived, or nothing was committed. Nothing was changed.
            TooLarge: no eviction makes room for it, or more arrived than a request has time to list. Nothing was
                changed.
        """
        for _ in range(MAX_ROUNDS):
            archive = self._reserved_archive(name)
            if archive is None or archive_id not in (None, archive.id):
                return self._finalized_before(name, size, archive_id)
            fixed = self.commit.at_finalize(archive, size)
            check_size(name, size, fixed.size)
            self.budgets.check_entry(size)
            updated = stored(fixed, self.clock.now())
            if updated is None:
                continue
            try:
                finalized = self.table.publish_entry(archive, updated)
            except WriteConflict:
                continue
            self.telemetry.emit(events.saved(finalized))
            self._start_merge(finalized)
            self._make_room(finalized)
            self.note_activity.save(finalized)
            return finalized.entry
        raise TryAgain("too many writers at once")

    def chunks(self, archive: Archive, size: int) -> Entry:
        """Commit and publish an upload of the v1 API, whose client sends one request for both.

        Args:
            archive: as it was read, the caller's own.
            size: bytes that the client says it sent.

        Raises:
            InvalidRequest: the chunks aren't `size` bytes without a gap. Nothing was changed.
            TooLarge: more arrived than a request has time to list.
            NotFound: the upload is gone, or took longer than its reservation.
        """
        self.commit.chunks(archive, size)
        return self(archive.name, size, archive.id)

    def _reserved_archive(self, name: EntryName) -> Archive | None:
        """Return the archive of the current, unexpired reservation, since Finalize names no upload."""
        reservation = self.table.reservation(name)
        if reservation is None or reservation.expires_at <= self.clock.now():
            return None
        archive = self.table.archive(reservation.archive_id)
        return archive if archive and archive.state is ArchiveState.RESERVED else None

    def _finalized_before(self, name: EntryName, size: int, archive_id: str | None) -> Entry:
        entry = self.table.entry(name)
        if entry is None or archive_id not in (None, entry.archive_id):
            raise NotFound(f"no upload holds the key {name.key!r}: it was never reserved, or took too long")
        check_size(name, size, entry.size)
        return entry

    def _start_merge(self, archive: Archive) -> None:
        """Claim the merge. The entry is saved, so a failure here is left to the cleanup schedule."""
        if not (self.merges_at_finalize and needs_merge(archive)):
            return
        try:
            self.claim_merge(archive.id)
        except (Unavailable, TryAgain) as error:
            self.telemetry.emit(events.merge_unclaimed(archive, error))

    def _make_room(self, archive: Archive) -> None:
        try:
            self.evict.after_save(archive)
        except Unavailable as error:
            self.telemetry.emit(events.over_budget(archive, error))


def check_size(name: EntryName, claimed: int, arrived: int) -> None:
    """Check that as many bytes arrived as the client says it sent.

    Raises:
        InvalidRequest: they differ.
    """
    if claimed != arrived:
        raise InvalidRequest(f"size_bytes is {claimed}, but {arrived} bytes arrived for the key {name.key!r}")


@dataclass(frozen=True, slots=True)
class Block:
    id: str
    size: int


@dataclass(frozen=True, slots=True)
class Blocks:
    committed: tuple[Block, ...]
    """Blocks in the order of the block list; empty if something else committed the upload."""
    uncommitted: tuple[Block, ...]
    """Blocks in the order of their ids, as at Azure; empty once the upload is committed: later arrivals don't count."""


@dataclass(frozen=True, slots=True)
class ListBlocks:
    """Lists an upload's blocks, as Azure's Get Block List does."""

    table: Table
    bucket: Bucket
    manifests: Manifests
    clock: Clock
    remove_broken: RemoveBroken

    def __call__(self, archive_id: str) -> Blocks:
        """Return the blocks of an upload, committed or not.

        Raises:
            NotFound: the upload is gone, or nothing came.
            TooLarge: more arrived than a request has time to list.
        """
        archive = self.table.archive(archive_id)
        if archive is None or archive.state is ArchiveState.DELETED:
            raise NotFound(why_gone(archive))
        keys = ArchiveKeys(archive_id)
        if archive.commit is not None:
            return Blocks(_blocks(keys, self._committed(archive)), ())
        arrived = newest_arrivals(arrivals(self.bucket, self.clock, keys.parts_prefix)).values()
        if not arrived:
            raise NotFound("nothing was uploaded here")
        return Blocks((), tuple(sorted(_blocks(keys, arrived), key=lambda block: block.id)))

    def _committed(self, archive: Archive) -> tuple[Part, ...]:
        try:
            return self.manifests.of(archive).parts
        except ObjectGone as gone:
            if archive.object is None and self.remove_broken(archive, gone):
                raise NotFound("the list of this upload's blocks is gone, so its entry was removed") from gone
            raise NotFound("the blocks of this upload were merged since, and are gone") from None


def _blocks(keys: ArchiveKeys, parts: Iterable[Part]) -> tuple[Block, ...]:
    ids = ((keys.block_id(part.key), part.size) for part in parts)
    return tuple(Block(block_id, size) for block_id, size in ids if block_id is not None)
