"""Deliver an archive's bytes: redirect to the one object, stream the parts, or wait for their merge.

domain/delivery.py decides which.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import islice

from actions_cache import events
from actions_cache.archives import ClaimMerge, Manifests, RemoveBroken
from actions_cache.domain.archive import Archive, MergeState, Part
from actions_cache.domain.checksum import StreamVerifier
from actions_cache.domain.claim import claimable_at
from actions_cache.domain.cleanup_schedule import removable_at
from actions_cache.domain.delivery import (
    Delivery,
    PlainReason,
    Source,
    StreamLimits,
    can_reach,
    choose_delivery,
    choose_source,
    why_not_listed,
)
from actions_cache.domain.errors import NotFound, TryAgain
from actions_cache.domain.part_list import PartList
from actions_cache.domain.ranges import ByteRange, PartRange, parse_range, split
from actions_cache.domain.timing import SECOND, Lifetimes, Millis
from actions_cache.part_stream import FIRST_REQUESTS, held_back, read_ahead
from actions_cache.ports import Chunk, Clock, ObjectGone, PartReader, Table, Telemetry, Unavailable, WrongBytes
from actions_cache.urls import SourceUrls

READ_AHEAD_RANGES = 4
"""Number of ranges that the read-ahead is divided into, which bounds their length. More: shorter ranges, so more
requests. Fewer: the latency of each request shows."""

HEAD_START_RANGES = FIRST_REQUESTS // 2
"""Number of the first part's ranges that are requested while the manifest is read. It has to stay below FIRST_REQUESTS,
the number that is known before a byte is given: so none is given before the manifest is there, which might be gone.
Fewer: the bytes are fetched less far ahead when the manifest arrives."""

MERGE_POLL_SECONDS = 0.5
"""Time between two looks at a merge that a download waits for. Longer: it notices later. Shorter: more reads."""


@dataclass(frozen=True, slots=True)
class Redirect:
    """Tells the reader where to get the bytes."""

    url: str
    """An absolute URL, or a path of this server."""


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes as this server sends them."""

    size: int
    """Size of the whole archive."""
    wanted: ByteRange
    is_partial: bool
    etag: str
    stored_at: Millis
    chunks: AsyncGenerator[Chunk, None]


@dataclass(frozen=True, slots=True)
class Listed:
    """Tells a reader that reads by itself where the parts are."""

    parts: PartList
    claim: asyncio.Task[None] | None
    """The claim of the merge, which the reader doesn't wait for, but which Lambda would freeze after the answer."""


@dataclass(frozen=True, slots=True)
class Download:
    """Answers GET and HEAD of a download URL."""

    table: Table
    sources: SourceUrls
    manifests: Manifests
    reader: PartReader
    clock: Clock
    claim_merge: ClaimMerge
    remove_broken: RemoveBroken
    lifetimes: Lifetimes
    limits: StreamLimits
    merge_wait_seconds: int
    read_ahead_bytes: int
    checks_parts: bool
    telemetry: Telemetry
    _claims: set[asyncio.Task[None]] = field(default_factory=set)

    async def __call__(
        self, archive_id: str, range_header: str | None, *, can_read_from_s3: bool, through_edge: bool
    ) -> Redirect | Content:
        """Redirect to the archive's object where the reader gets it faster, and stream it otherwise.

        Args:
            archive_id: id in the URL, whose signature was checked.
            range_header: value of `Range` or `x-ms-range`.
            can_read_from_s3: True if S3 itself would answer this request rightly.
            through_edge: True if the request came through the edge, where object URLs are served.

        Raises:
            NotFound: the archive is gone.
            RangeNotSatisfiable: the range begins behind the last byte.
            TryAgain: the archive can't be streamed, and there is no object to redirect to yet.
        """
        asked_at = self.clock.now()
        archive = await self._readable(archive_id)
        requested = parse_range(range_header, archive.size)
        size = (requested or _full_range(archive)).size
        if archive.object is None:
            archive = await self._streamable_or_merged(archive, size)
        source = choose_source(archive, can_read_from_s3=can_read_from_s3, has_edge=through_edge, may_seek=False)
        if source is Source.S3 or (source is Source.CLOUDFRONT and self.limits.throttles(size)):
            return Redirect(await asyncio.to_thread(self.sources.url, source, archive))
        if archive.object is not None and not self.limits.fits(size):
            raise TryAgain(f"{size} bytes are more than can be streamed here; ask for a shorter range")
        return self._content(archive, requested, asked_at)

    async def list_parts(self, archive_id: str, *, wants_all: bool, server_url: str) -> Listed | None:
        """Return where all bytes are in S3, for a reader that asks for it; None if it is to get the plain answer.

        Whether the parts exist is found when they are read, as it is with streams.

        Args:
            archive_id: id in the URL, whose signature was checked.
            wants_all: False if the request names a range, or an ETag that the answer must have.
            server_url: beginning of this server's URLs, as the reader asks it.

        Raises:
            NotFound: the archive is gone.
        """
        try:
            archive = await self._readable(archive_id)
        except NotFound:
            self.telemetry.emit(events.plain_fall(PlainReason.GONE))
            raise
        reason = why_not_listed(archive, wants_all=wants_all)
        if reason is None:
            claim = self._claim_if_claimable(archive) if archive.object is None else None
            listed = await asyncio.to_thread(self._part_list, archive, server_url)
            if not isinstance(listed, PlainReason):
                self.telemetry.emit(events.parts_listed(archive, listed))
                return Listed(listed, claim)
            reason = listed
        self.telemetry.emit(events.plain_fall(reason, archive))
        return None

    def _part_list(self, archive: Archive, server_url: str) -> PartList | PlainReason:
        try:
            listed = self.sources.part_list([part for part in self._parts(archive) if part.size])
        except ObjectGone:
            return PlainReason.GONE
        except Unavailable:
            return PlainReason.UNAVAILABLE
        if listed.size != archive.size:
            return PlainReason.UNAVAILABLE
        return listed if can_reach(listed.base, server_url) else PlainReason.OUT_OF_REACH

    async def describe(self, archive_id: str) -> Content:
        """Return the answer to a HEAD request.

        Raises:
            NotFound: the archive is gone.
        """
        return self._content(await self._readable(archive_id), None, self.clock.now())

    async def _readable(self, archive_id: str) -> Archive:
        """Return the archive, or a deleted one in its grace: its URLs were given out before.

        Raises:
            NotFound: there is none.
        """
        archive = await asyncio.to_thread(self.table.archive, archive_id)
        if archive is None or not archive.was_visible:
            raise NotFound("no such archive")
        self.telemetry.about(archive)
        if not archive.is_stored and removable_at(archive, self.lifetimes) <= self.clock.now():
            raise NotFound("this archive was removed")
        return archive

    async def _streamable_or_merged(self, archive: Archive, size: int) -> Archive:
        """Return the archive at once if its parts can be streamed, and otherwise once it is merged.

        Raises:
            TryAgain: it can't be streamed, and isn't merged within the wait.
        """
        self._claim_if_claimable(archive)
        give_up_at = self.clock.now() + self.merge_wait_seconds * SECOND
        while archive.object is None:
            delivery = choose_delivery(
                size=size,
                part_count=archive.commit.part_count if archive.commit else 0,
                merge_state=archive.merge.state,
                limits=self.limits,
                may_wait=self.clock.now() < give_up_at,
            )
            match delivery:
                case Delivery.STREAM:
                    return archive
                case Delivery.RETRY:
                    raise TryAgain(_why_not_yet(archive))
                case Delivery.WAIT:
                    await asyncio.sleep(MERGE_POLL_SECONDS)
                    archive = await self._readable(archive.id)
        return archive

    def _claim_if_claimable(self, archive: Archive) -> asyncio.Task[None] | None:
        """Claim the merge if nobody has, or the claim is dead. It runs beside the answer, never before it."""
        claimable = claimable_at(archive, self.lifetimes)
        if claimable is None or claimable > self.clock.now():
            return None
        claim = asyncio.create_task(self._claim(archive))
        self._claims.add(claim)
        claim.add_done_callback(self._claims.discard)
        return claim

    async def _claim(self, archive: Archive) -> None:
        try:
            await asyncio.to_thread(self.claim_merge, archive.id)
        except (Unavailable, TryAgain) as error:
            self.telemetry.emit(events.merge_unclaimed(archive, error))

    def _content(self, archive: Archive, requested: ByteRange | None, asked_at: Millis) -> Content:
        wanted = requested or _full_range(archive)
        return Content(
            size=archive.size,
            wanted=wanted,
            is_partial=requested is not None,
            etag=etag_of(archive.id),
            stored_at=archive.stored_at,
            chunks=self._chunks(archive, wanted, asked_at),
        )

    async def _chunks(self, archive: Archive, wanted: ByteRange, asked_at: Millis) -> AsyncGenerator[Chunk, None]:
        """Yield exactly the wanted bytes, or raise: never end cleanly with fewer.

        A stream that breaks off never lacks so few bytes that an error's text could take their place.
        """
        is_first = True
        async with aclosing(self._right_chunks(archive, wanted)) as right, aclosing(held_back(right)) as chunks:
            async for chunk in chunks:
                if is_first:
                    self.telemetry.emit(events.first_byte(archive, self.clock.now() - asked_at))
                    is_first = False
                yield chunk

    async def _right_chunks(self, archive: Archive, wanted: ByteRange) -> AsyncGenerator[Chunk, None]:
        """Yield the wanted bytes once each, checked where that is possible.

        If an object is gone because the archive was merged meanwhile, the stream goes on from the merged object.
        """
        given = 0
        while given < wanted.size:
            rest = ByteRange(wanted.start + given, wanted.end)
            try:
                layout = _ArchiveRanges(archive, rest, self.read_ahead_bytes // READ_AHEAD_RANGES, self._parts)
                verifier: StreamVerifier | None = None
                async with aclosing(read_ahead(layout.ranges(), self.reader, self.read_ahead_bytes)) as chunks:
                    async for chunk in chunks:
                        if self.checks_parts and verifier is None:
                            verifier = StreamVerifier(split(layout.parts, rest, archive.size))
                        wrong = verifier.feed(chunk) if verifier else None
                        if wrong is not None:
                            raise WrongBytes(wrong, "other bytes came than its ETag stands for")
                        given += len(chunk)
                        yield chunk
            except ObjectGone as gone:
                archive = await asyncio.to_thread(self._after_loss, archive, gone)
            else:
                if given != wanted.size:
                    raise Unavailable(f"{archive.id}: {given} bytes of {wanted.size}")

    def _parts(self, archive: Archive) -> tuple[Part, ...]:
        return (archive.object,) if archive.object else self.manifests.of(archive).parts

    def _after_loss(self, read: Archive, gone: ObjectGone) -> Archive:
        """Return the archive as it is now if its bytes have moved.

        Raises:
            NotFound: they haven't, so the entry was removed.
        """
        current = self.table.archive(read.id)
        if current is not None and current.object is not None and current.object != read.object:
            return current
        loss = self.remove_broken(read, gone)
        # Another request may have removed the entry a moment ago, and know which it was.
        reason = loss or "is gone or was changed"
        raise NotFound(f"an object of this archive {reason}, so its entry was removed") from gone


@dataclass(slots=True)
class _ArchiveRanges:
    """The ranges to read of an archive. The first part's come before the manifest is there, to save the reader a wait.

    Args:
        archive: the archive to read.
        wanted: the bytes to read of it.
        max_size: size of the longest range, in bytes.
        read_parts: returns the archive's parts.
        parts: the parts; known once a byte of the stream is given.
    """

    archive: Archive
    wanted: ByteRange
    max_size: int
    read_parts: Callable[[Archive], tuple[Part, ...]]
    parts: tuple[Part, ...] = ()

    async def ranges(self) -> AsyncGenerator[PartRange, None]:
        """Yield the ranges in order.

        Raises:
            ObjectGone: the manifest is gone.
        """
        head_start = tuple(islice(self._split(self._known_parts), HEAD_START_RANGES))
        for part_range in head_start:
            yield part_range
        self.parts = await asyncio.to_thread(self.read_parts, self.archive)
        for part_range in islice(self._split(self.parts), len(head_start), None):
            yield part_range

    @property
    def _known_parts(self) -> tuple[Part, ...]:
        commit = self.archive.commit
        if self.archive.object is not None or commit is None or commit.first_part is None:
            return ()
        return (commit.first_part,)

    def _split(self, parts: Sequence[Part]) -> Iterator[PartRange]:
        return split(parts, self.wanted, self.max_size)


def etag_of(archive_id: str) -> str:
    """Return an archive's ETag, the same in parts and merged, from this server and through the edge."""
    return f'"{archive_id}"'


def _full_range(archive: Archive) -> ByteRange:
    return ByteRange(0, archive.size)


def _why_not_yet(archive: Archive) -> str:
    if archive.merge.state is MergeState.FAILED:
        return "this archive is too large to be streamed, and its merge failed; whoever runs this cache has an alarm"
    return "this archive is too large to be streamed, and its parts are still being merged; try again"
