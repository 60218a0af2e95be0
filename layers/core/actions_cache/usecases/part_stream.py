"""The part stream: an archive's bytes in order, read ahead from its parts, within a budget of memory.

Nothing here knows of merges (P1), and nothing waits but for the store and the reader.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field

from actions_cache.domain.part_range import PartRange
from actions_cache.ports import PartReader, Unavailable

logger = logging.getLogger(__name__)

SILENCE_SECONDS = 2.0
"""@actions/cache gives up after 5 s without a byte (WIRE.md section 4): well before that, some are sent."""

MORSELS = 64
"""Into how many pieces the chunk held back is cut while the store is silent: two minutes of patience."""

MAX_FRUITLESS_TRIES = 6
"""Connections in a row that bring no byte before the store counts as out of order; about 10 s in all."""

FIRST_BYTE_SECONDS = 15.0
STALL_SECONDS = 4.0
"""How long a connection may bring nothing before it is dropped and another goes on at its offset."""


async def read_ahead(ranges: Iterable[PartRange], reader: PartReader, budget: int) -> AsyncGenerator[bytes, None]:
    """The bytes of the ranges, in order.

    As many ranges are fetched at once as fit the budget; always at least one. The last chunk is held back:
    while the store is silent it goes out in morsels, so that the reader isn't met with silence as well.

    Args:
        ranges: none longer than a fraction of the budget, or there is nothing to read ahead.
        reader: where they come from.
        budget: bytes fetched or being fetched and not yet given, at most.

    Raises:
        ObjectGone: a part is gone; what was given before is right.
        Unavailable: the store brought nothing for too long.
    """
    waiting = deque[PartRange]()
    source = iter(ranges)
    fetches = deque[_Fetch]()
    ahead = 0
    held = b""
    try:
        while True:
            while (following := waiting[0] if waiting else next(source, None)) is not None:
                if fetches and ahead + following.size > budget:
                    if not waiting:
                        waiting.append(following)
                    break
                waiting.clear()
                fetches.append(_Fetch(following, reader))
                ahead += following.size
            if not fetches:
                break
            chunk = await fetches[0].next_chunk(SILENCE_SECONDS)
            if chunk is None:
                morsel = held[: max(1, len(held) // MORSELS)]
                held = held[len(morsel) :]
                if morsel:
                    yield morsel
            elif chunk == b"":
                fetches.popleft()
            else:
                ahead -= len(chunk)
                if held:
                    yield held
                held = chunk
        if held:
            yield held
    finally:
        for fetch in fetches:
            fetch.cancel()


@dataclass(slots=True, eq=False)
class _Fetch:
    """One range on its way: a task fills it, the stream empties it."""

    source: PartRange
    reader: PartReader
    _chunks: deque[bytes] = field(default_factory=deque)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] = field(init=False)

    def __post_init__(self) -> None:
        self._task = asyncio.create_task(self._fill())
        self._task.add_done_callback(lambda _: self._arrived.set())

    async def next_chunk(self, patience: float) -> bytes | None:
        """The next bytes; none at the end; None when none came within so many seconds."""
        if not self._chunks and not self._task.done():
            self._arrived.clear()
            try:
                async with asyncio.timeout(patience):
                    await self._arrived.wait()
            except TimeoutError:
                return None
        if self._chunks:
            return self._chunks.popleft()
        self._task.result()
        return b""

    def cancel(self) -> None:
        self._task.cancel()
        # A failure that nobody will ask for any more is no news.
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _fill(self) -> None:
        """Fetches the range; a connection that dies is resumed at its offset, not restarted (P4)."""
        offset = self.source.start
        fruitless = 0
        while offset < self.source.end:
            before = offset
            try:
                rest = PartRange(self.source.part, offset, self.source.end)
                async with aclosing(self.reader.read(rest)) as chunks:
                    async for chunk in _watched(chunks):
                        offset += len(chunk)
                        self._chunks.append(chunk)
                        self._arrived.set()
            except (Unavailable, TimeoutError) as error:
                logger.warning("part connection lost", extra={"object": self.source.part.key, "error": str(error)})
            fruitless = fruitless + 1 if offset == before else 0
            if fruitless >= MAX_FRUITLESS_TRIES:
                raise Unavailable(f"{self.source.part.key}: no byte in {fruitless} tries")
            if offset < self.source.end:
                await asyncio.sleep(0.1 * 2**fruitless - 0.1)


async def _watched(chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Raises TimeoutError when the next chunk is too long in coming."""
    patience = FIRST_BYTE_SECONDS
    while True:
        async with asyncio.timeout(patience):
            chunk = await anext(chunks, None)
        if chunk is None:
            return
        yield chunk
        patience = STALL_SECONDS
