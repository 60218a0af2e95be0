"""Connections to the store that GETs go over: h11 for the heads, and bodies read where they will be sent from.

Bodies are most of what a stream does. An HTTP client's parser copies each byte of them, and its buffer once more, which
was two fifths of the processor time of a stream; asyncio's own buffer, once more, a tenth (docs/performance.md).
"""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import cast

import h11
from yarl import URL

from actions_cache.adapters.s3_signing import host_header

CONNECT_SECONDS = 5

MAX_CONNECTIONS = 256
"""To the store, of one process; a Lambda has 1,024 file descriptors."""

HEAD_BUFFER_BYTES = 16 * 1024
"""S3's heads are some 500 bytes; a longer one comes in pieces."""

READ_BUFFER_BYTES = 512 * 1024
"""What one connection holds that nobody took. Larger: fewer wake-ups; smaller: less memory for each range in flight."""

LEAST_READ_BYTES = 128 * 1024
"""With less room than this, what comes next goes into a new buffer."""


class ConnectionBroken(Exception):
    """It failed or ended before all of the answer was there, or what came isn't an answer."""


class Connections:
    """To one host, of the running loop; kept while they are good."""

    def __init__(self) -> None:
        self._at_rest = deque[Connection]()
        self._places = asyncio.Semaphore(MAX_CONNECTIONS)
        self._tls: ssl.SSLContext | None = None

    @asynccontextmanager
    async def get(self, url: URL, headers: Mapping[str, str]) -> AsyncGenerator["Connection", None]:
        """A connection that has the answer's head. It is kept if the block reads the whole body.

        Raises: ConnectionBroken; so does reading the body.
        """
        async with self._places:
            connection = await self._connected(url)
            try:
                await connection.ask(url, headers)
                yield connection
            finally:
                if connection.is_at_rest:
                    self._at_rest.append(connection)
                else:
                    connection.close()

    async def _connected(self, url: URL) -> "Connection":
        while self._at_rest:
            connection = self._at_rest.pop()
            if connection.is_at_rest:
                return connection
            connection.close()
        if url.scheme == "https" and self._tls is None:
            self._tls = ssl.create_default_context()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, made = await loop.create_connection(Connection, str(url.host), url.port or 0, ssl=self._tls)
        except (OSError, TimeoutError) as error:
            raise ConnectionBroken(f"no connection: {error!r}") from error
        return made

    def close(self) -> None:
        while self._at_rest:
            self._at_rest.pop().close()


class Connection(asyncio.BufferedProtocol):
    """One connection, and the answer that it is bringing."""

    status: int
    size: int
    """Of the body; the store always announces it."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._http = h11.Connection(h11.CLIENT)
        self._is_reading_head = False
        self._head = bytearray(HEAD_BUFFER_BYTES)
        self._left = 0
        self._is_kept = True
        self._body = memoryview(b"")
        self._filled = 0
        self._taken = 0
        self._broken: str | None = None
        self._news = asyncio.Event()

    # ---------------------------------------------------------------- what the connection hears

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods only

    def get_buffer(self, sizehint: int) -> bytearray | memoryview:  # noqa: ARG002 - asyncio's shape
        """The body goes where it will be read from; all else comes through the buffer for heads."""
        if self._is_reading_head or not self._left:
            return self._head
        return self._body[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        if self._is_reading_head:
            self._take_head(bytes(self._head[:nbytes]))
        elif not self._left:
            self._break("more came than was announced")
        else:
            self._note_body(nbytes)
        self._news.set()

    def eof_received(self) -> None:
        self._break("it ended")

    def connection_lost(self, exc: Exception | None) -> None:
        self._break(f"it was lost: {exc!r}")

    def _take_head(self, data: bytes) -> None:
        try:
            self._http.receive_data(data)
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            self._break(f"no HTTP: {error}")
            return
        if event is h11.NEED_DATA:
            return
        if not isinstance(event, h11.Response):
            self._break(f"no answer: {event!r}")
            return
        announced = dict(event.headers)
        self._is_reading_head = False
        self.status = event.status_code
        self._left = self.size = int(announced.get(b"content-length", b"0"))
        self._is_kept = announced.get(b"connection", b"").lower() != b"close" and b"content-length" in announced
        rest, _ = self._http.trailing_data
        if len(rest) > self._left:
            self._break("more came than was announced")
            return
        self._begin_buffer()
        self._body[: len(rest)] = rest
        self._note_body(len(rest))

    def _begin_buffer(self) -> None:
        """A new one each time: who took what was in the last one may still be sending it."""
        self._body = memoryview(bytearray(min(self._left, READ_BUFFER_BYTES)))
        self._filled = self._taken = 0

    def _note_body(self, size: int) -> None:
        self._filled += size
        self._left -= size
        if self._left and self._filled == len(self._body):
            self._transport.pause_reading()

    def _break(self, why: str) -> None:
        self._broken = self._broken or why
        self._news.set()

    # ---------------------------------------------------------------- what is asked of it

    @property
    def is_at_rest(self) -> bool:
        """Return whether it can be asked."""
        is_read = not self._left and self._taken == self._filled
        return self._is_kept and is_read and not (self._is_reading_head or self._broken)

    async def ask(self, url: URL, headers: Mapping[str, str]) -> None:
        """Sends a GET and waits for the head of the answer. Raises: ConnectionBroken."""
        self._http = h11.Connection(h11.CLIENT)
        self._is_reading_head = True
        request = h11.Request(
            method="GET", target=url.raw_path_qs, headers=[("Host", host_header(url)), *headers.items()]
        )
        self._transport.write((self._http.send(request) or b"") + (self._http.send(h11.EndOfMessage()) or b""))
        while self._is_reading_head:
            await self._hear()

    async def body(self) -> AsyncGenerator[memoryview, None]:
        """All that was announced. Raises: ConnectionBroken."""
        while self._left or self._taken < self._filled:
            if self._taken == self._filled:
                await self._hear()
                continue
            chunk = self._body[self._taken : self._filled]
            self._taken = self._filled
            if len(self._body) - self._filled < LEAST_READ_BYTES:
                self._begin_buffer()
            self._transport.resume_reading()
            yield chunk

    def close(self) -> None:
        self._transport.abort()

    async def _hear(self) -> None:
        if self._broken:
            raise ConnectionBroken(self._broken)
        self._news.clear()
        await self._news.wait()
