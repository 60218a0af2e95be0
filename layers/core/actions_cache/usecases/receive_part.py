"""Put Blob and Put Block: one new object in the bucket and nothing else (P4: parts are write-once).

On AWS no function sees these bytes; what arrived is learnt from the bucket, at the block list and at Finalize.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from actions_cache.domain.archive import Part
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
