"""Stream an archive's bytes in order, read ahead from its parts within a budget of memory.

Nothing here depends on merges, or waits for anything but the store and the reader.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing
from dataclasses import dataclass, field
from math import inf

from actions_cache.domain.ranges import PartRange
from actions_cache.ports import Chunk, PartReader, Unavailable

logger = logging.getLogger(__name__)

FIRST_REQUESTS = 16
"""Number of ranges that are requested at once to begin with. More: a reader that leaves early has cost more requests.
Fewer: the first bytes take longer. If the store is slow to answer, it is doubled."""

MOST_REQUESTS = 64
"""Number of ranges that are requested at once at most: what 2 GB/s takes with 1 MiB parts and 30 ms a request. More:
less of the budget is left for each connection. Fewer: a distant store is read more slowly."""

SILENCE_SECONDS = 2.0
"""Time without a byte from the store after which the reader gets some that were held back. @actions/cache gives up
after 5 s without a byte (docs/design/protocol.md#downloads). Shorter: what is held back is used up sooner."""

KEEPALIVE_CHUNKS = 64
"""Number of slices that the bytes held back are trickled out in while the store is silent; at one every 2 s they keep
the client alive for 2 minutes. More: longer, in smaller slices. Fewer: clients give up sooner."""

LAST_BYTES = 4096
"""Size of the last chunk, which is sent as a whole. If a body breaks off, Lambda Web Adapter sends the error as more of
the body, and ends it properly (lambda_runtime's `to_tailer`): some 150 bytes, which would complete the announced length
if just as many were missing. More: the tail is sent later. Less: such a text may complete the body.
https://github.com/awslabs/aws-lambda-rust-runtime/blob/main/lambda-runtime/src/types.rs"""

MAX_ATTEMPTS_WITHOUT_PROGRESS = 6
"""Number of connections in a row without a byte before the store counts as unavailable, some 10 s in all. More:
readers wait longer for the error. Fewer: a short outage breaks streams."""

FIRST_BYTE_SECONDS = 15.0
"""Time that a connection may take for its first byte before another one replaces it. Longer: a dead one costs more.
Shorter: a slow store is asked again and again."""

STALL_SECONDS = 4.0
"""Time that a connection may bring nothing after its first byte before another one continues at its offset. Longer: a
stalled one holds up the reader. Shorter: slow ones are replaced for nothing."""

UNREAD_SECONDS = 5.0
"""Time that a connection is kept open while the reader takes nothing; another one continues at its offset later.
Longer: readers that stand still occupy all connections, and S3 would end them anyway. Shorter: slow readers cost
more requests."""


async def read_ahead(ranges: AsyncIterable[PartRange], reader: PartReader, budget: int) -> AsyncGenerator[Chunk, None]:
    """Yield the bytes of the ranges, in order.

    Several ranges are fetched at once, and more whenever the next one to yield has no bytes yet: a request that waits
    for its first byte holds no memory, so only received bytes count against the budget. While the store is silent, an
    empty chunk is yielded every SILENCE_SECONDS (see held_back).

    Args:
        ranges: the ranges in order, short enough that the reader soon needs several of them. Each is awaited while
            those before it are being fetched; the first byte is given once FIRST_REQUESTS of them are known.
        reader: reads a range from the store.
        budget: number of bytes that may be fetched and not yet given, beside a chunk of each connection.

    Raises:
        ObjectGone: a part is gone; the bytes given before are right.
        Unavailable: the store brought nothing for too long.
    """
    source = aiter(ranges)
    fetches = deque[_Fetch]()
    at_once = FIRST_REQUESTS
    try:
        while True:
            while len(fetches) < at_once and (following := await anext(source, None)) is not None:
                fetches.append(_Fetch(following, reader, max(1, budget // MOST_REQUESTS)))
            if not fetches:
                break
            chunk = await fetches[0].next_chunk(SILENCE_SECONDS)
            if chunk is None:
                yield b""
            elif chunk == b"":
                fetches.popleft()
                if fetches and fetches[0].has_brought_nothing:
                    at_once = min(2 * at_once, MOST_REQUESTS)
            else:
                yield chunk
    finally:
        for fetch in fetches:
            fetch.cancel()


async def held_back(chunks: AsyncIterable[Chunk]) -> AsyncGenerator[Chunk, None]:
    """Yield the same bytes, but hold the newest back, and the last ones until all bytes are known to be there.

    So a stream that fails lacks more than LAST_BYTES, or has sent nothing. While the store is silent, the bytes held
    back beyond LAST_BYTES are trickled out, so that the client doesn't give up.

    Args:
        chunks: the bytes, with an empty chunk now and then while the store is silent.
    """
    held = deque[Chunk]()
    size = 0
    async for chunk in chunks:
        if chunk:
            held.append(chunk)
            size += len(chunk)
            while size - len(held[0]) >= 2 * LAST_BYTES:
                size -= len(held[0])
                yield held.popleft()
        elif size > LAST_BYTES:
            keepalive = held[0][: max(1, (size - LAST_BYTES) // KEEPALIVE_CHUNKS)]
            held[0] = held[0][len(keepalive) :]
            size -= len(keepalive)
            if not held[0]:
                held.popleft()
            yield keepalive
    rest = memoryview(b"".join(held))
    if size > LAST_BYTES:
        yield rest[:-LAST_BYTES]
    if rest:
        yield rest[-LAST_BYTES:]


@dataclass(slots=True, eq=False)
class _Fetch:
    """Fetches one range: a task adds the chunks that arrive, and the stream takes them."""

    source: PartRange
    reader: PartReader
    most_held: int
    _chunks: deque[Chunk] = field(default_factory=deque)
    _held: int = 0
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _taken: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] = field(init=False)

    def __post_init__(self) -> None:
        self._task = asyncio.create_task(self._fill())
        self._task.add_done_callback(lambda _: self._arrived.set())

    @property
    def has_brought_nothing(self) -> bool:
        return not self._chunks and not self._task.done()

    async def next_chunk(self, wait_seconds: float) -> Chunk | None:
        """Return the next bytes, empty at the end of the range, or None if none came within this time."""
        if self.has_brought_nothing:
            await _set_by(_now() + wait_seconds, self._arrived)
        if self._chunks:
            chunk = self._chunks.popleft()
            self._held -= len(chunk)
            self._taken.set()
            return chunk
        if not self._task.done():
            return None
        self._task.result()
        return b""

    def cancel(self) -> None:
        self._task.cancel()
        # Retrieve the task's exception, or asyncio logs it; nobody else will.
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _fill(self) -> None:
        """Fetch the range. If a connection dies, another one continues at its offset."""
        offset = self.source.start
        attempts_without_progress = 0
        while offset < self.source.end:
            before = offset
            try:
                rest = PartRange(self.source.part, offset, self.source.end)
                async with asyncio.timeout(FIRST_BYTE_SECONDS) as store, aclosing(self.reader.read(rest)) as chunks:
                    async for chunk in chunks:
                        store.reschedule(None)
                        offset += len(chunk)
                        self._chunks.append(chunk)
                        self._held += len(chunk)
                        self._arrived.set()
                        if not await self._has_room_by(_now() + UNREAD_SECONDS):
                            break
                        store.reschedule(_now() + STALL_SECONDS)
            except (Unavailable, TimeoutError) as error:
                logger.warning("part connection lost", extra={"object": self.source.part.key, "error": str(error)})
            await self._has_room_by(inf)
            attempts_without_progress = attempts_without_progress + 1 if offset == before else 0
            if attempts_without_progress >= MAX_ATTEMPTS_WITHOUT_PROGRESS:
                raise Unavailable(f"{self.source.part.key}: no byte in {attempts_without_progress} tries")
            if offset < self.source.end:
                await asyncio.sleep(0.1 * 2**attempts_without_progress - 0.1)

    async def _has_room_by(self, time: float) -> bool:
        """Wait until the reader has taken enough, or this time has come, and return whether there is room."""
        while self._held >= self.most_held and _now() < time:
            await _set_by(time, self._taken)
        return self._held < self.most_held


async def _set_by(time: float, event: asyncio.Event) -> None:
    """Wait for the event until this time. asyncio.timeout would be simpler, but took a tenth of a stream's CPU time."""
    event.clear()
    alarm = None if time == inf else asyncio.get_running_loop().call_at(time, event.set)
    try:
        await event.wait()
    finally:
        if alarm is not None:
            alarm.cancel()


def _now() -> float:
    return asyncio.get_running_loop().time()
