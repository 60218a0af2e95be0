"""The part stream's bytes and speed, on a scripted store that fails exactly where a test wants."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actions_cache import part_stream
from actions_cache.domain.archive import Part
from actions_cache.domain.ranges import PartRange, full_range
from actions_cache.part_stream import FIRST_REQUESTS, LAST_BYTES, MOST_REQUESTS, held_back, read_ahead
from actions_cache.ports import ObjectGone, Unavailable

CONTENT = {name: bytes([ord(name)]) * 1000 for name in "abcdefgh"}
PARTS = [Part(name, len(content), f'"{name}"') for name, content in CONTENT.items()]
EVERYTHING = b"".join(CONTENT.values())
CHUNK = 100
BUDGET = MOST_REQUESTS * 2 * CHUNK

Fault = Callable[[PartRange, int], None]


class ScriptedStore:
    """Yields every part in chunks of 100 bytes; `before_chunk` may raise or wait before any of them."""

    def __init__(self) -> None:
        self.requested: list[PartRange] = []
        self.open = 0
        self.most_open = 0
        self.given = 0

    async def before_chunk(self, source: PartRange, offset: int) -> None:
        await asyncio.sleep(0)

    async def read(self, source: PartRange) -> AsyncGenerator[bytes, None]:
        self.requested.append(source)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            for offset in range(source.start, source.end, 100):
                await self.before_chunk(source, offset)
                chunk = CONTENT[source.part.key][offset : min(offset + 100, source.end)]
                self.given += len(chunk)
                yield chunk
        finally:
            self.open -= 1


async def ranges_of(parts: list[Part]) -> AsyncGenerator[PartRange, None]:
    for part in parts:
        yield full_range(part)


async def one_by_one(parts: list[Part]) -> AsyncGenerator[PartRange, None]:
    """Yield ranges of 100 bytes."""
    for part in parts:
        for at in range(0, part.size, 100):
            yield PartRange(part, at, at + 100)


async def read_all(store: ScriptedStore, budget: int = 3000, parts: list[Part] = PARTS) -> bytes:
    return b"".join([chunk async for chunk in read_ahead(ranges_of(parts), store, budget)])


@pytest.mark.parametrize("budget", [1, 999, 1000, 1001, 3000, 10**9])
async def test_bytes_arrive_in_order_at_any_budget(budget):
    assert await read_all(ScriptedStore(), budget) == EVERYTHING
    assert await read_all(ScriptedStore(), budget, parts=[]) == b""


async def test_read_ahead_stays_within_budget():
    store, parts = ScriptedStore(), PARTS * 3
    taken = 0
    async with aclosing(read_ahead(ranges_of(parts), store, BUDGET)) as chunks:
        async for chunk in chunks:
            await asyncio.sleep(0.002)
            taken += len(chunk)
            assert store.given - taken <= BUDGET + store.most_open * CHUNK, "a chunk of each connection comes on top"
    assert taken == 3 * len(EVERYTHING)
    assert store.most_open == FIRST_REQUESTS, "the reader is slower than the store"


async def test_latency_increases_concurrent_requests():
    class Distant(ScriptedStore):
        async def before_chunk(self, source: PartRange, offset: int) -> None:
            if offset == source.start:
                await asyncio.sleep(0.02)

    store = Distant()
    assert await read_all(store, 10**6, PARTS * 20) == EVERYTHING * 20
    assert store.most_open == MOST_REQUESTS


async def test_slow_reader_releases_connections(monkeypatch):
    monkeypatch.setattr(part_stream, "UNREAD_SECONDS", 0.02)
    store = ScriptedStore()
    async with aclosing(read_ahead(ranges_of(PARTS), store, BUDGET)) as chunks:
        given = bytes(await anext(chunks))
        await asyncio.sleep(0.2)
        assert store.open == 0
        given += b"".join([chunk async for chunk in chunks])
    assert given == EVERYTHING


async def test_leaving_reader_closes_every_connection():
    store = ScriptedStore()
    async with aclosing(read_ahead(ranges_of(PARTS), store, 3000)) as chunks:
        await anext(chunks)
    await asyncio.sleep(0.01)
    assert store.open == 0


async def test_broken_or_truncated_response_resumes_at_offset():
    class Dropping(ScriptedStore):
        async def before_chunk(self, source: PartRange, offset: int) -> None:
            if source.part.key == "b" and offset == source.start + 300:
                raise Unavailable("connection reset")

    class Truncating(ScriptedStore):
        async def read(self, source: PartRange) -> AsyncGenerator[bytes, None]:
            self.requested.append(source)
            yield CONTENT[source.part.key][source.start : source.start + 400][: source.size]

    store = Dropping()
    assert await read_all(store) == EVERYTHING
    assert [source.start for source in store.requested if source.part.key == "b"] == [0, 300, 600, 900]
    assert await read_all(Truncating()) == EVERYTHING


@pytest.mark.parametrize(("patience", "stalls_at"), [("STALL_SECONDS", 500), ("FIRST_BYTE_SECONDS", 0)])
async def test_stalled_or_mute_connection_is_replaced(monkeypatch, patience, stalls_at):
    monkeypatch.setattr(part_stream, patience, 0.05)

    class Stalling(ScriptedStore):
        async def before_chunk(self, source: PartRange, offset: int) -> None:
            asked = [source.part.key for source in self.requested].count("c")
            if (source.part.key, source.start, offset, asked) == ("c", 0, stalls_at, 1):
                await asyncio.sleep(60)

    async with asyncio.timeout(5):
        assert await read_all(Stalling()) == EVERYTHING


async def test_slow_reader_is_not_a_stalled_store(monkeypatch):
    for timeout in ("FIRST_BYTE_SECONDS", "STALL_SECONDS"):
        monkeypatch.setattr(part_stream, timeout, 0.4)
    store = ScriptedStore()
    async with aclosing(read_ahead(ranges_of(PARTS), store, BUDGET)) as chunks:
        given = bytes(await anext(chunks))
        await asyncio.sleep(1)
        given += b"".join([chunk async for chunk in chunks])
    assert given == EVERYTHING
    assert len(store.requested) == len(PARTS), "no connection was given up"


async def test_connection_over_its_share_waits():
    class Uneven(ScriptedStore):
        async def read(self, source: PartRange) -> AsyncGenerator[bytes, None]:
            self.requested.append(source)
            for start, end in ((0, 199), (199, 399), (399, 1000)):
                await asyncio.sleep(0)
                yield CONTENT[source.part.key][start:end]

    store, given = Uneven(), b""
    async for chunk in read_ahead(ranges_of(PARTS), store, MOST_REQUESTS * 200):
        given += chunk
        await asyncio.sleep(0.002)
    assert given == EVERYTHING
    assert len(store.requested) == len(PARTS), "no connection was given up"


@pytest.mark.parametrize("error", [ObjectGone, lambda _: Unavailable("503")], ids=["gone", "unavailable"])
async def test_missing_part_ends_stream_with_error(monkeypatch, error):
    monkeypatch.setattr(part_stream, "MAX_ATTEMPTS_WITHOUT_PROGRESS", 2)

    class Losing(ScriptedStore):
        async def before_chunk(self, source: PartRange, offset: int) -> None:
            if source.part.key == "d":
                raise error(source.part)

    given = b""
    with pytest.raises((ObjectGone, Unavailable)):
        async for chunk in read_ahead(ranges_of(PARTS), Losing(), 3000):
            given += chunk
    assert EVERYTHING.startswith(given)
    assert len(given) < 3001


@pytest.mark.parametrize("silent_at", [9000, 15_000, len(EVERYTHING) * 3 - 100])
async def test_silent_store_keeps_client_alive(monkeypatch, silent_at: int):
    """The client gives up after 5 s without a byte. Here the silence is 100 times as short."""
    monkeypatch.setattr(part_stream, "SILENCE_SECONDS", 0.02)

    class Sleepy(ScriptedStore):
        async def before_chunk(self, source: PartRange, offset: int) -> None:
            if self.given == silent_at:
                await asyncio.sleep(0.3)

    clock = asyncio.get_running_loop().time
    last, longest, given = 0.0, 0.0, b""
    async for chunk in held_back(read_ahead(one_by_one(PARTS * 3), Sleepy(), 1000)):
        assert chunk
        longest = max(longest, clock() - (last or clock()))
        last, given = clock(), given + chunk
    assert given == EVERYTHING * 3
    assert longest < 0.2


ADAPTERS_ERROR = (
    b"Lambda-Runtime-Function-Error-Type: Runtime.StreamError\r\nLambda-Runtime-Function-Error-Body: "
    b"eyJlcnJvclR5cGUiOiJSdW50aW1lLlN0cmVhbUVycm9yIiwiZXJyb3JNZXNzYWdlIjoiZXJyb3IgcmVhZGluZyBhIGJvZHkgZnJvbSBjb25uZWN0"
    b"aW9uIn0=\r\n"
)
"""Text that Lambda Web Adapter appends to a body that breaks off, before it ends it properly."""

SIZES = (1, 100, LAST_BYTES - 1, LAST_BYTES, LAST_BYTES + 1, 2 * LAST_BYTES, 3 * LAST_BYTES + 7, 100_000)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("chunk_size", [1000, 7777])
async def test_error_text_cannot_complete_body(size: int, chunk_size: int):
    """The store's connection may break with any number of bytes missing."""
    body = bytes(size)
    for missing in range(min(size, 600) + 1):
        sent, is_whole = await received(body[: size - missing], chunk_size, fails=missing > 0)
        assert is_whole is (missing == 0)
        if missing:
            assert len(sent) + max(len(ADAPTERS_ERROR), LAST_BYTES) < size or sent == b""
        else:
            assert sent == body


@given(sizes=st.lists(st.integers(0, 3 * LAST_BYTES), max_size=12), fails=st.booleans(), silences=st.integers(0, 3))
@settings(deadline=None)
def test_last_bytes_are_held_back_in_order(sizes: list[int], fails: bool, silences: int):
    body = bytes(at % 251 for at in range(sum(sizes)))

    async def chunks() -> AsyncGenerator[bytes, None]:
        at = 0
        for size in sizes:
            yield body[at : at + size]
            at += size
            for _ in range(silences):
                yield b""
        if fails:
            raise Unavailable("gone")

    sent, is_whole = asyncio.run(taken(chunks()))
    assert is_whole is not fails
    assert body.startswith(sent)
    assert len(sent) == len(body) if is_whole else len(sent) <= max(0, len(body) - LAST_BYTES)


@given(sizes=st.lists(st.integers(1, 3 * LAST_BYTES), min_size=1, max_size=12))
@settings(deadline=None)
def test_stream_cut_short_lacks_last_bytes(sizes: list[int]):
    """It may be cut between any two chunks, as when Lambda's time is up."""

    async def chunks() -> AsyncGenerator[bytes, None]:
        for size in sizes:
            yield bytes(size)

    async def sends() -> list[int]:
        return [len(chunk) async for chunk in held_back(chunks())]

    *before, last = asyncio.run(sends())
    assert last == min(sum(sizes), LAST_BYTES)
    assert sum(before) + last == sum(sizes)


async def received(body: bytes, chunk_size: int, *, fails: bool) -> tuple[bytes, bool]:
    async def chunks() -> AsyncGenerator[bytes, None]:
        for at in range(0, len(body), chunk_size):
            yield body[at : at + chunk_size]
        if fails:
            raise Unavailable("the connection ended")

    return await taken(chunks())


async def taken(chunks: AsyncGenerator[bytes, None]) -> tuple[bytes, bool]:
    """Return the bytes that are sent, and whether the stream ends cleanly."""
    sent = b""
    try:
        async for chunk in held_back(chunks):
            sent += chunk
    except Unavailable:
        return sent, False
    return sent, True


async def test_known_ranges_are_fetched_before_rest():
    is_fetching, rest_is_known = asyncio.Event(), True

    class Signalling(ScriptedStore):
        async def before_chunk(self, source: PartRange, offset: int) -> None:
            is_fetching.set()

    async def ranges() -> AsyncGenerator[PartRange, None]:
        yield full_range(PARTS[0])
        async with asyncio.timeout(5):
            await is_fetching.wait()
        if not rest_is_known:
            raise ObjectGone(PARTS[1])
        for part in PARTS[1:]:
            yield full_range(part)

    assert b"".join([chunk async for chunk in read_ahead(ranges(), Signalling(), 3000)]) == EVERYTHING
    store, rest_is_known = Signalling(), False
    is_fetching.clear()
    with pytest.raises(ObjectGone):
        await anext(read_ahead(ranges(), store, 3000))
    await asyncio.sleep(0.01)
    assert (len(store.requested), store.open) == (1, 0), "no byte came"
