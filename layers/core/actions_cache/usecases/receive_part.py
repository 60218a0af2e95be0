"""Put Blob and Put Block: one new object in the bucket and nothing else (parts are write-once).

On AWS no function sees these bytes; what arrived is learnt from the bucket, at the block list and at Finalize.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from actions_cache.domain.archive import Part
from actions_cache.domain.byte_range import ByteRange
from actions_cache.domain.errors import InvalidRequest
from actions_cache.domain.layout import ArchiveKeys
from actions_cache.ports import Clock, PartWriter, TokenSource


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
