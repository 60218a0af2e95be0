"""Put Blob and Put Block: one new object in the bucket and nothing else (P4: parts are write-once).

On AWS no function sees these bytes; what arrived is learnt from the bucket, at the block list and at Finalize.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from actions_cache.domain.archive import Part
from actions_cache.domain.byte_range import ByteRange
from actions_cache.domain.errors import InvalidRequest
from actions_cache.domain.layout import ArchiveKeys
from actions_cache.ports import Clock, PartWriter, TokenSource, Unavailable


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

    async def piece(self, archive_id: str, place: ByteRange, body: AsyncIterator[bytes]) -> Part:
        """Stores one arrival of a piece of the v1 API, whose length only its place tells: it comes in chunks.

        Raises: InvalidRequest when the body has another length. Nothing is stored then.
        """
        key = ArchiveKeys(archive_id).piece(place, self.clock.now(), self.tokens.new())
        exact = _Exactly(place.size, body)
        try:
            return await self.writer.write(key, place.size, exact.chunks())
        except Unavailable:
            if exact.fault is not None:
                raise exact.fault from None
            raise


async def _nothing() -> AsyncIterator[bytes]:
    yield b""


class _Exactly:
    """A body that breaks off, before its last chunk, unless it has so many bytes."""

    def __init__(self, size: int, body: AsyncIterator[bytes]) -> None:
        self.fault: InvalidRequest | None = None
        self._size = size
        self._body = body

    async def chunks(self) -> AsyncIterator[bytes]:
        held, got = b"", 0
        async for chunk in self._body:
            got += len(chunk)
            if got > self._size:
                break
            if held:
                yield held
            held = chunk
        if got != self._size:
            came = "more" if got > self._size else f"only {got}"
            self.fault = InvalidRequest(f"Content-Range announces {self._size} bytes, but {came} came")
            raise self.fault
        yield held
