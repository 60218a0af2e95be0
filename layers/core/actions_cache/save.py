"""Save an entry: reserve a key, receive parts, commit the upload, finalize."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field

from actions_cache import events
from actions_cache.activity import NoteActivity
from actions_cache.archives import MAX_ROUNDS, ClaimMerge, Manifests, RemoveBroken, arrivals, transition
from actions_cache.domain.access import Caller
from actions_cache.domain.archive import Archive, ArchiveState, Part, committed, reserved, stored, why_gone
from actions_cache.domain.budgets import Budgets, Repository
from actions_cache.domain.claim import needs_merge
from actions_cache.domain.entry import Entry, EntryName, numbered_archive_id
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


@dataclass(frozen=True, slots=True)
class Reserve:
    table: Table
    clock: Clock
    tokens: TokenSource
    urls: UrlSigner
    lifetimes: Lifetimes
    telemetry: Telemetry

    def __call__(self, name: EntryName) -> str:
        """Returns: the path, with its query, to upload to.

        Raises: AlreadyExists when the key is saved or validly reserved.
        """
        archive = self._reserved(self.tokens.new(), name)
        return self.urls.sign(Direction.UPLOAD, archive.id, archive.upload_closes_at)

    def numbered(self, name: EntryName) -> int:
        """Returns: the number by which the v1 API's client names the upload; not 0, which is nothing in JavaScript.

        Raises: AlreadyExists when the key is saved or validly reserved.
        """
        number = int(self.tokens.new()[:13], 16) or 1
        self._reserved(numbered_archive_id(number), name)
        return number

    def _reserved(self, archive_id: str, name: EntryName) -> Archive:
        now = self.clock.now()
        archive = reserved(archive_id, name, now, self.lifetimes)
        try:
            self.table.reserve(archive, now)
        except WriteConflict:
            raise AlreadyExists(f"the key {name.key!r} is saved, or being saved by another job") from None
        self.telemetry.emit(events.reserved(archive))
        return archive


MINUTE: Millis = 60 * SECOND

MOST_NOTED = 10_000
"""Repositories that a process remembers, some 2 MB. At the limit it forgets all, which costs another read for each."""


@dataclass(frozen=True, slots=True)
class CreateRateLimit:
    """Args: creates_per_minute: of one repository; None for no limit."""

    repositories: Repositories
    clock: Clock
    creates_per_minute: int | None
    _noted: dict[str, str | None] = field(default_factory=dict)
    """What this process knows to be noted."""

    def __call__(self, caller: Caller) -> None:
        """Raises: TooManyRequests."""
        self._note_name(caller)
        if self.creates_per_minute is None:
            return
        minute, into_it = divmod(self.clock.now(), MINUTE)
        if self.repositories.count_create(caller.repository, minute) > self.creates_per_minute:
            raise TooManyRequests(
                f"this repository has begun {self.creates_per_minute} uploads in this minute, and may begin no more "
                "before the next (CREATES_PER_MINUTE)",
                retry_after_seconds=max(1, (MINUTE - into_it) // SECOND),
            )

    def _note_name(self, caller: Caller) -> None:
        """A token without a name takes none away."""
        repository, name = caller.repository, caller.repository_name
        if repository in self._noted and name in (None, self._noted[repository]):
            return
        known = self.repositories.repository(repository)
        if known is None or name not in (None, known.name):
            self.repositories.note(Repository(repository, name, self.clock.now()))
        if len(self._noted) >= MOST_NOTED:
            self._noted.clear()
        self._noted[repository] = name or (known.name if known else None)


@dataclass(frozen=True, slots=True)
class ReceivePart:
    writer: PartWriter
    clock: Clock
    tokens: TokenSource

    async def __call__(self, archive_id: str, block_id: str | None, size: int, body: AsyncIterator[bytes]) -> Part:
        """Stores one arrival: a block, or, without a block id, a whole blob.

        Raises: InvalidRequest when the block id isn't base64.
        """
        keys, arrived_at, request_id = ArchiveKeys(archive_id), self.clock.now(), self.tokens.new()
        key = keys.blob(arrived_at, request_id)
        if block_id is not None:
            key = keys.block(block_id, arrived_at, request_id)
        return await self.writer.write(key, size, body)

    async def new_append(self, archive_id: str) -> Part:
        """Begins an append blob anew."""
        key = ArchiveKeys(archive_id).new_append(self.clock.now(), self.tokens.new())
        return await self.writer.write(key, 0, _nothing())

    async def appended(self, archive_id: str, offset: str | None, size: int, body: AsyncIterator[bytes]) -> Part:
        """Stores one Append Block, at the offset that its client names, if it does."""
        key = ArchiveKeys(archive_id).appended(offset, self.clock.now(), self.tokens.new())
        return await self.writer.write(key, size, body)

    async def chunk(self, archive_id: str, place: ByteRange, body: AsyncIterator[bytes]) -> Part:
        """Stores one arrival of a piece of the v1 API, whose length only its place tells: it comes in chunks.

        Raises: InvalidRequest when the body has another length. Nothing is stored then.
        """
        key = ArchiveKeys(archive_id).chunk(place, self.clock.now(), self.tokens.new())
        return await self.writer.write(key, place.size, _exactly(place.size, body))


async def _nothing() -> AsyncIterator[bytes]:
    yield b""


async def _exactly(size: int, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the body, and raise InvalidRequest before its last chunk unless it has this many bytes."""
    held, got = b"", 0
    async for chunk in body:
        got += len(chunk)
        if got > size:
            break
        if held:
            yield held
        held = chunk
    if got != size:
        came = "more" if got > size else f"only {got}"
        raise InvalidRequest(f"Content-Range announces {size} bytes, but {came} came")
    yield held


@dataclass(frozen=True, slots=True)
class CommitBlocks:
    table: Table
    bucket: Bucket
    manifests: Manifests
    clock: Clock

    def __call__(self, archive_id: str, block_ids: Sequence[str]) -> None:
        """Commit the upload. Doing so again with the same list succeeds, since its answer may have been lost.

        Raises:
            TooLarge: more blocks than Azure allows, or more arrived than a request has time to list.
            InvalidBlockList: the list names a block that never arrived, or names one twice.
            CommittedDifferently: the upload was committed with another list.
            NotFound: the upload is gone: it was never finished in time, or its entry was removed.
        """
        if len(block_ids) > MAX_BLOCKS:
            raise TooLarge(f"the block list names {len(block_ids)} blocks; at most {MAX_BLOCKS} are allowed")
        digest = block_list_digest(block_ids)
        archive = self.table.archive(archive_id)
        if _is_open(archive):
            check_names_each_once(block_ids)
            keys = ArchiveKeys(archive_id)
            parts = assemble(keys, block_ids, arrivals(self.bucket, self.clock, keys.blocks_prefix))
            commit, only_part = self.manifests.commit(keys, parts, digest)
            transition(self.table, archive_id, lambda current: committed(current, commit, only_part))
            archive = self.table.archive(archive_id)
        _check_committed(archive, digest)


def _is_open(archive: Archive | None) -> bool:
    return archive is not None and archive.state is ArchiveState.RESERVED and archive.commit is None


def _check_committed(archive: Archive | None, digest: str) -> None:
    if archive is None or archive.state is ArchiveState.DELETED or archive.commit is None:
        raise NotFound(why_gone(archive))
    if archive.commit.digest != digest:
        raise CommittedDifferently("this upload was committed with another block list; what was committed stays")


@dataclass(frozen=True, slots=True)
class Seal:
    table: Table
    bucket: Bucket
    manifests: Manifests
    clock: Clock

    def __call__(self, archive_id: str) -> None:
        """Commit the upload. Doing so again succeeds, since the answer may have been lost.

        Raises:
            InvalidRequest: the pieces don't follow each other, or a Put Blob replaced them.
            TooLarge: more arrived than a request has time to list.
            CommittedDifferently: the upload was committed as something else.
            NotFound: no append blob was begun, or the upload is gone: never finished in time, or its entry was removed.
        """
        archive = self.table.archive(archive_id)
        if archive is not None and archive.state is ArchiveState.RESERVED and archive.commit is None:
            keys = ArchiveKeys(archive_id)
            blob = whole_blob(keys, arrivals(self.bucket, self.clock, keys.parts_prefix))
            if blob is None:
                raise NotFound("there is no append blob to seal; create it first")
            if blob.digest != APPENDED_DIGEST:
                raise InvalidRequest("a Put Blob replaced what was appended; only an append blob can be sealed")
            commit, only_part = self.manifests.commit(keys, blob.parts, APPENDED_DIGEST)
            transition(self.table, archive_id, lambda current: committed(current, commit, only_part))
            archive = self.table.archive(archive_id)
        if archive is None or archive.state is ArchiveState.DELETED or archive.commit is None:
            raise NotFound(why_gone(archive))
        if archive.commit.digest != APPENDED_DIGEST:
            raise CommittedDifferently("this upload was committed otherwise than by appending; that stays")


@dataclass(frozen=True, slots=True)
class Block:
    id: str
    size: int


@dataclass(frozen=True, slots=True)
class Blocks:
    committed: tuple[Block, ...]
    """In the order of the block list. None of an upload that was committed by something else."""
    uncommitted: tuple[Block, ...]
    """In the order of their ids, as at Azure. None once the upload is committed: what comes later is thrown away."""


@dataclass(frozen=True, slots=True)
class ListBlocks:
    table: Table
    bucket: Bucket
    manifests: Manifests
    clock: Clock
    remove_broken: RemoveBroken

    def __call__(self, archive_id: str) -> Blocks:
        """Return what can be known of the upload now.

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
            updated = stored(committed_archive, self.clock.now())
            if updated is None:
                continue
            try:
                finalized = self.table.publish_entry(archive, updated)
            except WriteConflict:
                continue
            self.telemetry.emit(events.saved(finalized))
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
        except (Unavailable, TryAgain) as error:
            self.telemetry.emit(events.merge_unclaimed(archive, error))

    def _make_room(self, archive: Archive) -> None:
        try:
            self.evict.after_save(archive.name.family.repository)
        except Unavailable as error:
            self.telemetry.emit(events.over_budget(archive, error))


def _check_size(name: EntryName, claimed: int, arrived: int) -> None:
    if claimed != arrived:
        raise InvalidRequest(f"size_bytes is {claimed}, but {arrived} bytes arrived for the key {name.key!r}")


@dataclass(frozen=True, slots=True)
class CommitChunks:
    table: Table
    bucket: Bucket
    manifests: Manifests
    clock: Clock
    finalize: Finalize

    def __call__(self, archive: Archive, size: int) -> Entry:
        """Commit and finalize. Doing so again succeeds, since the answer may have been lost.

        Args:
            archive: as it was read, the caller's own.
            size: what the client says it sent.

        Raises:
            InvalidRequest: the pieces aren't `size` bytes without a gap. Nothing was changed.
            TooLarge: more arrived than a request has time to list.
            NotFound: the upload is gone, or took longer than its reservation.
        """
        if archive.state is ArchiveState.DELETED:
            raise NotFound(why_gone(archive))
        if archive.commit is None:
            keys = ArchiveKeys(archive.id)
            parts = assemble_chunks(keys, size, arrivals(self.bucket, self.clock, keys.chunks_prefix))
            commit, only_part = self.manifests.commit(keys, parts, chunks_digest(size))
            transition(self.table, archive.id, lambda current: committed(current, commit, only_part))
        return self.finalize(archive.name, size, archive.id)
