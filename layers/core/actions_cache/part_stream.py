"""The part stream: an archive's bytes in order, read ahead from its parts, within a budget of memory.

Nothing here knows of merges, and nothing waits but for the store and the reader.
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
"""How many ranges are asked for at once, to begin with. A store that takes longer to answer gets more of them."""

MOST_REQUESTS = 64
"""With 1 MiB parts and 30 ms a request, what 2 GB/s takes."""

SILENCE_SECONDS = 2.0
"""@actions/cache gives up after 5 s without a byte (docs/design/protocol.md#downloads): well before that, some are
sent."""

KEEPALIVE_CHUNKS = 64
"""Into how many pieces the chunk held back is cut while the store is silent: two minutes of patience."""

LAST_BYTES = 4096
"""Size of the last chunk, which goes out at once. After a body that breaks off, Lambda Web Adapter sends an error as
more of the body, and ends it properly (lambda_runtime's `to_tailer`): some 150 bytes, which would complete the
announced length if just so many were missing. This is longer than any such text; an even longer tail would only come
later. https://github.com/awslabs/aws-lambda-rust-runtime/blob/main/lambda-runtime/src/types.rs"""

MAX_ATTEMPTS_WITHOUT_PROGRESS = 6
"""Connections in a row that bring no byte before the store counts as out of order; about 10 s in all."""

FIRST_BYTE_SECONDS = 15.0
STALL_SECONDS = 4.0
"""How long a connection may bring nothing before it is dropped and another goes on at its offset."""

UNREAD_SECONDS = 5.0
"""How long a connection is kept that the reader is too slow for; then it is given up, and another goes on at its offset
once it is wanted. Else readers that stand still would take all connections, and S3 would end them by itself."""


async def read_ahead(ranges: AsyncIterable[PartRange], reader: PartReader, budget: int) -> AsyncGenerator[Chunk, None]:
    """Yield the bytes of the ranges, in order.

    Several ranges are fetched at once, and more whenever the next one to yield has no bytes yet: a request that waits
    for its first byte holds no memory, so only received bytes count against the budget. While the store is silent, an
    empty chunk says so every SILENCE_SECONDS (see held_back).

    Args:
        ranges: in order; short ones, so that several together are in the reader's near future. They are
            waited for while what was asked for before is on its way, and before the first byte is given.
        reader: where they come from.
        budget: bytes fetched and not yet given, at most; and a chunk of each connection.

    Raises:
        ObjectGone: a part is gone; what was given before is right.
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
    """Yield the same bytes, always holding the newest chunk back, and the last bytes until all are known to be there.

    So a stream that fails lacks more than LAST_BYTES, or has sent nothing. While the store is silent, the surplus above
    LAST_BYTES goes out in morsels, so that the reader isn't left in silence as well.

    Args:
        chunks: an empty one while the store is silent.
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
            morsel = held[0][: max(1, (size - LAST_BYTES) // KEEPALIVE_CHUNKS)]
            held[0] = held[0][len(morsel) :]
            size -= len(morsel)
            if not held[0]:
                held.popleft()
            yield morsel
    rest = memoryview(b"".join(held))
    if size > LAST_BYTES:
        yield rest[:-LAST_BYTES]
    if rest:
        yield rest[-LAST_BYTES:]


@dataclass(slots=True, eq=False)
class _Fetch:
    """One range on its way: a task fills it, the stream empties it."""

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
        """The next bytes; none at the end; None when none came within so many seconds."""
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
        # A failure that nobody will ask for any more is no news.
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _fill(self) -> None:
        """Fetches the range; a connection that dies is resumed at its offset, not restarted."""
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
        while self._held >= self.most_held and _now() < time:
            await _set_by(time, self._taken)
        return self._held < self.most_held


async def _set_by(time: float, event: asyncio.Event) -> None:
    """Waits until the event comes, and no longer. By hand: asyncio.timeout was a tenth of what a stream costs."""
    event.clear()
    alarm = None if time == inf else asyncio.get_running_loop().call_at(time, event.set)
    try:
        await event.wait()
    finally:
        if alarm is not None:
            alarm.cancel()


def _now() -> float:
    return asyncio.get_running_loop().time()
