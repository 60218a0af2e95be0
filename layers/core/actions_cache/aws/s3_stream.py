"""Streams of parts to and from S3.

Reads use connections and signatures of our own, which cost less processor time for each part than boto3 and aiohttp
(docs/design/performance.md).
"""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

import aiohttp
import h11
from yarl import URL

from actions_cache.aws.clients import log_denied_operation, translate_errors
from actions_cache.aws.s3 import ALGORITHM, SigningKeys, bucket_url
from actions_cache.domain.archive import OCTET_STREAM, Part
from actions_cache.domain.ranges import PartRange
from actions_cache.ports import Chunk, ObjectGone, Unavailable

if TYPE_CHECKING:
    from botocore.credentials import Credentials
    from mypy_boto3_s3 import S3Client

CONNECT_SECONDS = 5
"""Timeout for connecting to S3. Longer: an unreachable S3 is noticed later. Shorter: slow connections fail."""

MAX_CONNECTIONS = 256
"""Most connections to S3 for reading, and as many for writing, of one process. More: a Lambda, which has 1,024 file
descriptors, may run out of them. Fewer: ranges wait for each other."""

HEAD_BUFFER_BYTES = 16 * 1024
"""Most bytes of a response's head that are received at once. S3's heads have some 500 bytes."""

READ_BUFFER_BYTES = 512 * 1024
"""Most bytes of a body that a connection holds until they are taken. Larger: fewer wake-ups. Smaller: less memory for
each range in flight."""

LEAST_READ_BYTES = 128 * 1024
"""Room in the buffer below which the next bytes go into a new one. Larger: more buffers. Smaller: more small reads."""

MAX_ERROR_BYTES = 4096
"""Most bytes of an error's body that are read. S3's errors have some 300."""

ACCESS_DENIED = "<Code>AccessDenied</Code>"
"""S3's code for a missing permission, as it is in the error's body."""


class S3Stream:
    """See ports.PartReader and ports.PartWriter."""

    def __init__(self, signer: "S3Signer") -> None:
        self._signer = signer
        self._for_writing: aiohttp.ClientSession | None = None
        self._for_reading: Connections | None = None

    async def read(self, source: PartRange) -> AsyncGenerator[Chunk, None]:
        headers = {"If-Match": source.part.etag}
        if not source.is_whole:
            headers["Range"] = f"bytes={source.start}-{source.end - 1}"
        with translate_errors():
            url, headers = self._signer.signed("GET", source.part.key, headers)
        if self._for_reading is None:
            self._for_reading = Connections()
        expected = HTTPStatus.OK if source.is_whole else HTTPStatus.PARTIAL_CONTENT
        try:
            async with self._for_reading.get(url, headers) as response:
                if response.status in (HTTPStatus.NOT_FOUND, HTTPStatus.PRECONDITION_FAILED):
                    raise ObjectGone(source.part)
                if response.status != expected or response.size != source.size:
                    message = await _error_message(response)
                    if response.status == HTTPStatus.FORBIDDEN and ACCESS_DENIED in message:
                        log_denied_operation("GetObject", message)
                    raise Unavailable(f"GET {source.part.key}: {response.status}, {response.size} bytes {message}")
                async with aclosing(response.body()) as chunks:
                    async for chunk in chunks:
                        yield chunk
        except ConnectionBroken as error:
            raise Unavailable(f"GET {source.part.key}: {error}") from error

    async def write(self, key: str, size: int, body: AsyncIterator[bytes]) -> Part:
        with translate_errors():
            url, headers = self._signer.signed("PUT", key, {"Content-Length": str(size), "Content-Type": OCTET_STREAM})
        sent = SentBody(body)
        try:
            # A redirect would send another host what was signed for this one.
            async with self._writing_session().put(
                url, headers=headers, data=sent.chunks(), allow_redirects=False
            ) as response:
                if response.status == HTTPStatus.OK and sent.error is None and "ETag" in response.headers:
                    return Part(key, size, response.headers["ETag"])
                message = (await response.content.read(MAX_ERROR_BYTES)).decode(errors="replace")
                if response.status == HTTPStatus.FORBIDDEN and ACCESS_DENIED in message:
                    log_denied_operation("PutObject", message)
                reason = f"{response.status} {message}"
        except (aiohttp.ClientError, OSError) as error:
            reason = in_words(error)
        raise sent.error or Unavailable(f"PUT {key}: {reason}")

    async def close(self) -> None:
        """Close all connections."""
        if self._for_reading is not None:
            self._for_reading.close()
        if self._for_writing is not None:
            await self._for_writing.close()

    def _writing_session(self) -> aiohttp.ClientSession:
        """Return the session, which is made by the first request because it belongs to the event loop that runs it."""
        if self._for_writing is None:
            self._for_writing = new_connections()
        return self._for_writing


class SentBody:
    """A request's body that records its own error, since aiohttp reports that as an error of the connection."""

    def __init__(self, body: AsyncIterator[bytes]) -> None:
        self.error: Exception | None = None
        self._body = body

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._body:
                yield chunk
        except Exception as error:
            self.error = error
            raise


def new_connections(limit: int = MAX_CONNECTIONS) -> aiohttp.ClientSession:
    """Return a session of the running event loop, which adds nothing to requests and changes nothing in responses.

    Args:
        limit: Most connections; 0 for any number.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=limit),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        read_bufsize=READ_BUFFER_BYTES,
        auto_decompress=False,
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
    )


async def _error_message(response: "Connection") -> str:
    """Return the body if it is an error, and not part of an object; else an empty string."""
    if response.status < HTTPStatus.BAD_REQUEST or response.size > MAX_ERROR_BYTES:
        return ""
    return b"".join([bytes(chunk) async for chunk in response.body()]).decode(errors="replace")


def in_words(error: Exception) -> str:
    """Return an error's message without the request's headers, which aiohttp includes and which contain credentials."""
    message = error.message if isinstance(error, aiohttp.ClientResponseError) else error
    return f"{type(error).__name__}: {message}"


# ---------------------------------------------------------------- connections for reading


class ConnectionBroken(Exception):
    """Raised when a connection fails or ends before a complete response, or when its bytes aren't HTTP."""


class Connections:
    """A pool of the running event loop's connections to one host."""

    def __init__(self) -> None:
        self._idle = deque[Connection]()
        self._limit = asyncio.Semaphore(MAX_CONNECTIONS)
        self._tls: ssl.SSLContext | None = None

    @asynccontextmanager
    async def get(self, url: URL, headers: Mapping[str, str]) -> AsyncGenerator["Connection", None]:
        """Send a GET and yield the connection once it has the response's head.

        The connection is reused if the block reads the whole body.

        Raises:
            ConnectionBroken: there is no response; reading the body may raise it too.
        """
        async with self._limit:
            connection = await self._connected(url)
            try:
                await connection.send_get(url, headers)
                yield connection
            finally:
                if connection.is_idle:
                    self._idle.append(connection)
                else:
                    connection.close()

    async def _connected(self, url: URL) -> "Connection":
        while self._idle:
            connection = self._idle.pop()
            if connection.is_idle:
                return connection
            connection.close()
        if url.scheme == "https" and self._tls is None:
            self._tls = ssl.create_default_context()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await loop.create_connection(Connection, str(url.host), url.port or 0, ssl=self._tls)
        except (OSError, TimeoutError) as error:
            raise ConnectionBroken(f"no connection: {error!r}") from error
        return connection

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


class Connection(asyncio.BufferedProtocol):
    """A connection and the response that it is receiving."""

    status: int
    size: int
    """Size of the body, which S3 always announces."""

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

    # ---------------------------------------------------------------- called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has the methods but not the class

    def get_buffer(self, sizehint: int) -> bytearray | memoryview:  # noqa: ARG002 - asyncio's signature
        """Return the body's buffer during a body, so that it isn't copied; else the buffer for heads."""
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
        headers = dict(event.headers)
        self._is_reading_head = False
        self.status = event.status_code
        self._left = self.size = int(headers.get(b"content-length", b"0"))
        self._is_kept = headers.get(b"connection", b"").lower() != b"close" and b"content-length" in headers
        rest, _ = self._http.trailing_data
        if len(rest) > self._left:
            self._break("more came than was announced")
            return
        self._begin_buffer()
        self._body[: len(rest)] = rest
        self._note_body(len(rest))

    def _begin_buffer(self) -> None:
        """Start a new buffer: bytes taken from the last one may still be on their way to the client."""
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

    # ---------------------------------------------------------------- called by readers

    @property
    def is_idle(self) -> bool:
        """Return whether the connection can take a request."""
        is_read = not self._left and self._taken == self._filled
        return self._is_kept and is_read and not (self._is_reading_head or self._broken)

    async def send_get(self, url: URL, headers: Mapping[str, str]) -> None:
        """Send a GET and wait for the head of the response.

        Raises:
            ConnectionBroken: there is no response.
        """
        self._http = h11.Connection(h11.CLIENT)
        self._is_reading_head = True
        request = h11.Request(
            method="GET", target=url.raw_path_qs, headers=[("Host", host_header(url)), *headers.items()]
        )
        self._transport.write((self._http.send(request) or b"") + (self._http.send(h11.EndOfMessage()) or b""))
        while self._is_reading_head:
            await self._wait_for_news()

    async def body(self) -> AsyncGenerator[memoryview, None]:
        """Yield all bytes of the body as they arrive.

        Raises:
            ConnectionBroken: the body isn't complete.
        """
        while self._left or self._taken < self._filled:
            if self._taken == self._filled:
                await self._wait_for_news()
                continue
            chunk = self._body[self._taken : self._filled]
            self._taken = self._filled
            if len(self._body) - self._filled < LEAST_READ_BYTES:
                self._begin_buffer()
            self._transport.resume_reading()
            yield chunk

    def close(self) -> None:
        self._transport.abort()

    async def _wait_for_news(self) -> None:
        if self._broken:
            raise ConnectionBroken(self._broken)
        self._news.clear()
        await self._news.wait()


# ---------------------------------------------------------------- signatures


class S3Signer:
    """Signs requests for the objects of a bucket with AWS's Signature Version 4, in their headers.

    https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html.
    """

    def __init__(self, client: "S3Client", bucket: str, credentials: "Credentials") -> None:
        self._base = URL(bucket_url(client, bucket), encoded=True)
        self._keys = SigningKeys(client.meta.region_name)
        self._credentials = credentials

    def signed(self, method: str, key: str, headers: Mapping[str, str]) -> tuple[URL, dict[str, str]]:
        """Return the URL and all headers of a signed request, except Host.

        Keys consist of unreserved characters (domain/object_keys.py), so the URL needs no quoting. The payload isn't
        signed.
        """
        credentials = self._credentials.get_frozen_credentials()
        time = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        path = self._base.raw_path + key
        signed_headers = {**headers, "X-Amz-Date": time, "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
        if credentials.token:
            signed_headers["X-Amz-Security-Token"] = credentials.token
        lowered = {name.lower(): value for name, value in signed_headers.items()}
        signing = sorted({"host": host_header(self._base), **lowered}.items())
        names = ";".join(name for name, _ in signing)
        lines = "".join(f"{name}:{value}\n" for name, value in signing)
        request = f"{method}\n{path}\n\n{lines}\n{names}\nUNSIGNED-PAYLOAD"
        signature = self._keys.sign(credentials.secret_key or "", time, request)
        credential = f"{credentials.access_key}/{self._keys.scope(time[:8])}"
        authorization = f"{ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}"
        return self._base.with_path(path, encoded=True), {**signed_headers, "Authorization": authorization}


def host_header(url: URL) -> str:
    """Return the Host header, without the default port: S3 verifies the header as it was sent."""
    return url.host_port_subcomponent or ""
