"""GET of a download URL: redirect to the one object, or stream the parts (domain/delivery.py decides)."""

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
from actions_cache.domain.delivery import Delivery, Source, StreamLimits, choose_delivery, choose_source
from actions_cache.domain.errors import NotFound, TryAgain
from actions_cache.domain.ranges import ByteRange, PartRange, parse_range, split
from actions_cache.domain.timing import SECOND, Lifetimes, Millis
from actions_cache.part_stream import FIRST_REQUESTS, held_back, read_ahead
from actions_cache.ports import Chunk, Clock, ObjectGone, PartReader, Table, Telemetry, Unavailable, WrongBytes
from actions_cache.urls import SourceUrls

READ_AHEAD_RANGES = 4
"""The longest range is so much of the read-ahead. More: shorter ranges, so more requests; fewer: latency shows."""

HEAD_START_RANGES = FIRST_REQUESTS // 2
"""Of the first part, asked for while the manifest is read. Fewer than what is asked for before a byte is given, so that
no byte goes out before the manifest is there: it might be gone."""

MERGE_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Redirect:
    url: str
    """Absolute, or a path of ours."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a reader gets from us."""

    size: int
    """Of the whole archive."""
    wanted: ByteRange
    is_partial: bool
    etag: str
    stored_at: Millis
    chunks: AsyncGenerator[Chunk, None]


@dataclass(frozen=True, slots=True)
class Download:
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
        """Delivers an archive.

        Args:
            archive_id: from a URL whose signature was checked.
            range_header: the value of `Range` or `x-ms-range`.
            can_read_from_s3: whether S3 itself would answer this request rightly.
            through_edge: whether it came through the edge, where object URLs are served.

        Raises:
            NotFound: the archive is gone.
            RangeNotSatisfiable: the range begins behind the last byte.
            TryAgain: it can be neither streamed nor redirected to yet.
        """
        asked_at = self.clock.now()
        archive = await self._readable(archive_id)
        wanted = parse_range(range_header, archive.size)
        if archive.object is None:
            archive = await self._deliverable(archive, (wanted or ByteRange(0, archive.size)).size)
        size = (wanted or ByteRange(0, archive.size)).size
        source = choose_source(archive, can_read_from_s3=can_read_from_s3, has_edge=through_edge, may_seek=False)
        if source is Source.S3 or (source is Source.CLOUDFRONT and self.limits.throttles(size)):
            return Redirect(await asyncio.to_thread(self.sources.url, source, archive))
        if archive.object is not None and not self.limits.fits(size):
            raise TryAgain(f"{size} bytes are more than can be streamed here; ask for a shorter range")
        return self._content(archive, wanted, asked_at)

    async def describe(self, archive_id: str) -> Content:
        """What HEAD tells. Raises NotFound."""
        return self._content(await self._readable(archive_id), None, self.clock.now())

    async def _readable(self, archive_id: str) -> Archive:
        """A deleted archive is readable through its grace: its URLs were given out before."""
        archive = await asyncio.to_thread(self.table.archive, archive_id)
        if archive is None or not archive.was_visible:
            raise NotFound("no such archive")
        self.telemetry.about(archive)
        if not archive.is_stored and removable_at(archive, self.lifetimes) <= self.clock.now():
            raise NotFound("this archive was removed")
        return archive

    def _content(self, archive: Archive, wanted: ByteRange | None, asked_at: Millis) -> Content:
        full_range = ByteRange(0, archive.size)
        return Content(
            size=archive.size,
            wanted=wanted or full_range,
            is_partial=wanted is not None,
            etag=etag_of(archive.id),
            stored_at=archive.stored_at,
            chunks=self._chunks(archive, wanted or full_range, asked_at),
        )

    async def _deliverable(self, archive: Archive, size: int) -> Archive:
        """The archive once it can be delivered: at once if it can be streamed, else merged within the wait."""
        self._claim_if_nobody_has(archive)
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

    def _claim_if_nobody_has(self, archive: Archive) -> None:
        """The first download's claim, or the retaking of a dead one: beside the stream, never before it."""
        claimable = claimable_at(archive, self.lifetimes)
        if claimable is not None and claimable <= self.clock.now():
            claim = asyncio.create_task(self._claim(archive))
            self._claims.add(claim)
            claim.add_done_callback(self._claims.discard)

    async def _claim(self, archive: Archive) -> None:
        try:
            await asyncio.to_thread(self.claim_merge, archive.id)
        except (Unavailable, TryAgain) as error:
            self.telemetry.emit(events.merge_unclaimed(archive, error))

    async def _chunks(self, archive: Archive, wanted: ByteRange, asked_at: Millis) -> AsyncGenerator[Chunk, None]:
        """Yield exactly the wanted bytes, or raise: never end cleanly with fewer.

        Never are so few bytes missing that an error's text could take their place.
        """
        is_first = True
        async with aclosing(self._right_chunks(archive, wanted)) as right, aclosing(held_back(right)) as chunks:
            async for chunk in chunks:
                if is_first:
                    self.telemetry.emit(events.first_byte(archive, self.clock.now() - asked_at))
                    is_first = False
                yield chunk

    async def _right_chunks(self, archive: Archive, wanted: ByteRange) -> AsyncGenerator[Chunk, None]:
        """Yield right bytes, none twice, as far as they are checked."""
        given = 0
        while given < wanted.size:
            rest = ByteRange(wanted.start + given, wanted.end)
            try:
                reading = _Reading(archive, rest, self.read_ahead_bytes // READ_AHEAD_RANGES, self._parts)
                passing: StreamVerifier | None = None
                async with aclosing(read_ahead(reading.ranges(), self.reader, self.read_ahead_bytes)) as chunks:
                    async for chunk in chunks:
                        if self.checks_parts and passing is None:
                            passing = StreamVerifier(split(reading.parts, rest, archive.size))
                        feed = passing.feed(chunk) if passing else None
                        if feed is not None:
                            raise WrongBytes(feed, "other bytes came than its ETag stands for")
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
        """The archive as it is now, if its bytes are elsewhere by now; else its entry is removed."""
        now = self.table.archive(read.id)
        if now is not None and now.object is not None and now.object != read.object:
            return now
        loss = self.remove_broken(read, gone)
        # Another request may have removed it a moment ago, and know which.
        what = loss or "is gone or was changed"
        raise NotFound(f"an object of this archive {what}, so its entry was removed") from gone


@dataclass(slots=True)
class _Reading:
    """What is read of an archive, its beginning while its manifest is: else a reader waits for two answers in turn."""

    archive: Archive
    wanted: ByteRange
    longest: int
    """Of a range, in bytes."""
    read_parts: Callable[[Archive], tuple[Part, ...]]
    parts: tuple[Part, ...] = ()
    """Known once a byte of the stream is given."""

    async def ranges(self) -> AsyncGenerator[PartRange, None]:
        """Raises ObjectGone when the manifest is."""
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
        return split(parts, self.wanted, self.longest)


def etag_of(archive_id: str) -> str:
    """Return an archive's ETag: the same in parts and merged, from us and through the edge."""
    return f'"{archive_id}"'


def _why_not_yet(archive: Archive) -> str:
    if archive.merge.state is MergeState.FAILED:
        return "this archive is too large to be streamed, and its merge failed; whoever runs this cache has an alarm"
    return "this archive is too large to be streamed, and its parts are still being merged; try again"
