"""Read and write parts in S3 over connections of our own."""

import asyncio
import hmac
import ssl
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from hashlib import sha256
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

import aiohttp
import h11
from yarl import URL

from actions_cache.aws.clients import answers, note_denied
from actions_cache.domain.archive import OCTET_STREAM, Part
from actions_cache.domain.ranges import PartRange
from actions_cache.ports import Chunk, ObjectGone, Unavailable

if TYPE_CHECKING:
    from botocore.credentials import Credentials
    from mypy_boto3_s3 import S3Client

ALGORITHM = "AWS4-HMAC-SHA256"


class S3Signer:
    def __init__(self, client: "S3Client", bucket: str, credentials: "Credentials") -> None:
        # What boto3 makes of bucket, region and endpoint, whichever way they are addressed.
        presigned = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "-"})
        self._base = URL(presigned.partition("?")[0].removesuffix("-"), encoded=True)
        self._region = client.meta.region_name
        self._credentials = credentials
        self._known_key: tuple[str, str, bytes] = ("", "", b"")

    def signed(self, method: str, key: str, headers: Mapping[str, str]) -> tuple[URL, dict[str, str]]:
        """The URL, and all headers that go with it but Host.

        Keys are made of unreserved characters (domain/object_keys.py), so the URL needs no quoting. The payload isn't
        signed.
        """
        credentials = self._credentials.get_frozen_credentials()
        time = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        path = self._base.raw_path + key
        sent = {**headers, "X-Amz-Date": time, "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
        if credentials.token:
            sent["X-Amz-Security-Token"] = credentials.token
        signing = sorted({"host": host_header(self._base), **{name.lower(): sent[name] for name in sent}}.items())
        names = ";".join(name for name, _ in signing)
        lines = "".join(f"{name}:{value}\n" for name, value in signing)
        request = f"{method}\n{path}\n\n{lines}\n{names}\nUNSIGNED-PAYLOAD"
        scope = f"{time[:8]}/{self._region}/s3/aws4_request"
        to_sign = f"{ALGORITHM}\n{time}\n{scope}\n{sha256(request.encode()).hexdigest()}"
        signature = _hmac(self._signing_key(credentials.secret_key or "", time[:8]), to_sign).hex()
        sent["Authorization"] = (
            f"{ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        return self._base.with_path(path, encoded=True), sent

    def _signing_key(self, secret: str, day: str) -> bytes:
        """The same for a day."""
        known_secret, known_day, key = self._known_key
        if (known_secret, known_day) != (secret, day):
            key = f"AWS4{secret}".encode()
            for step in (day, self._region, "s3", "aws4_request"):
                key = _hmac(key, step)
            self._known_key = (secret, day, key)
        return key


def host_header(url: URL) -> str:
    """Without the port that the scheme implies: the store signs the Host header as it comes."""
    return url.host_port_subcomponent or ""


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


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


MOST_SAID = 4096
"""Bytes of a refusal's body that are kept; S3's have some 300."""

ACCESS_DENIED = "<Code>AccessDenied</Code>"


class S3Stream:
    """See ports.PartReader and ports.PartWriter."""

    def __init__(self, signer: S3Signer) -> None:
        self._signer = signer
        self._session: aiohttp.ClientSession | None = None
        self._reading: Connections | None = None

    async def read(self, source: PartRange) -> AsyncGenerator[Chunk, None]:
        headers = {"If-Match": source.part.etag}
        if not source.is_whole:
            headers["Range"] = f"bytes={source.start}-{source.end - 1}"
        with answers():
            url, headers = self._signer.signed("GET", source.part.key, headers)
        if self._reading is None:
            self._reading = Connections()
        try:
            async with self._reading.get(url, headers) as answer:
                if answer.status in (HTTPStatus.NOT_FOUND, HTTPStatus.PRECONDITION_FAILED):
                    raise ObjectGone(source.part)
                if (
                    answer.status != (HTTPStatus.OK if source.is_whole else HTTPStatus.PARTIAL_CONTENT)
                    or answer.size != source.size
                ):
                    said = await _said(answer)
                    if answer.status == HTTPStatus.FORBIDDEN and ACCESS_DENIED in said:
                        note_denied("GetObject", said)
                    raise Unavailable(f"GET {source.part.key}: {answer.status}, {answer.size} bytes {said}")
                async with aclosing(answer.body()) as chunks:
                    async for chunk in chunks:
                        yield chunk
        except ConnectionBroken as error:
            raise Unavailable(f"GET {source.part.key}: {error}") from error

    async def write(self, key: str, size: int, body: AsyncIterator[bytes]) -> Part:
        with answers():
            url, headers = self._signer.signed("PUT", key, {"Content-Length": str(size), "Content-Type": OCTET_STREAM})
        sent = SentBody(body)
        try:
            # A redirect would send the other host what was signed for this one.
            async with self._connections().put(
                url, headers=headers, data=sent.chunks(), allow_redirects=False
            ) as answer:
                if answer.status == HTTPStatus.OK and sent.fault is None and "ETag" in answer.headers:
                    return Part(key, size, answer.headers["ETag"])
                said = (await answer.content.read(MOST_SAID)).decode(errors="replace")
                if answer.status == HTTPStatus.FORBIDDEN and ACCESS_DENIED in said:
                    note_denied("PutObject", said)
                fault = f"{answer.status} {said}"
        except (aiohttp.ClientError, OSError) as error:
            fault = in_words(error)
        raise sent.fault or Unavailable(f"PUT {key}: {fault}")

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.close()
        if self._session is not None:
            await self._session.close()

    def _connections(self) -> aiohttp.ClientSession:
        """Made with the first request: a session belongs to the loop that runs it."""
        if self._session is None:
            self._session = new_connections()
        return self._session


class SentBody:
    """Records why a request's body ended early: aiohttp reports any error in it as one of the connection."""

    def __init__(self, body: AsyncIterator[bytes]) -> None:
        self.fault: Exception | None = None
        self._body = body

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._body:
                yield chunk
        except Exception as error:
            self.fault = error
            raise


async def _said(answer: Connection) -> str:
    """Return the beginning of the store's error message, without bytes of any other kind."""
    if answer.status < HTTPStatus.BAD_REQUEST or answer.size > MOST_SAID:
        return ""
    return b"".join([bytes(chunk) async for chunk in answer.body()]).decode(errors="replace")


def new_connections(limit: int = MAX_CONNECTIONS) -> aiohttp.ClientSession:
    """To the store, of the running loop. Nothing is added to a request, and nothing of an answer is changed.

    Args: limit: of connections; 0 for none.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=limit),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
        read_bufsize=READ_BUFFER_BYTES,
        auto_decompress=False,
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
    )


def in_words(error: Exception) -> str:
    """Return them without the request's headers, which aiohttp's own words bring: they carry its credentials."""
    said = error.message if isinstance(error, aiohttp.ClientResponseError) else error
    return f"{type(error).__name__}: {said}"
