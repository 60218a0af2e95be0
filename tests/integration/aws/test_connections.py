"""Requests on reused connections to a server with scripted responses, and parts read by them."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import boto3
import pytest
from botocore.credentials import Credentials
from yarl import URL

from actions_cache.aws.s3_stream import (
    LEAST_READ_BYTES,
    READ_BUFFER_BYTES,
    ConnectionBroken,
    Connections,
    S3Signer,
    S3Stream,
)
from actions_cache.domain.archive import Part
from actions_cache.domain.ranges import PartRange
from actions_cache.ports import ObjectGone, Unavailable
from tests.support.private_ca import CertificateAuthority

MIB = 1024 * 1024
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"


class ScriptedServer:
    """Sends the given responses in turn, on whichever connection a request comes; None closes the connection."""

    def __init__(self, *answers: bytes | None) -> None:
        self._answers = list(answers)
        self.requests: list[bytes] = []
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def connections(self) -> int:
        return len(self._writers)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        while self._answers:
            try:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            except asyncio.IncompleteReadError:
                break
            answer = self._answers.pop(0)
            if answer is None:
                break
            writer.write(answer)
        writer.close()

    @asynccontextmanager
    async def url(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[URL]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=tls)
        scheme = "https" if tls else "http"
        try:
            yield URL(f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/bucket/key?x=%2F", encoded=True)
        finally:
            server.close()
            for writer in self._writers:
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()


async def get(connections: Connections, url: URL) -> tuple[int, bytes]:
    async with connections.get(url, {"If-Match": '"etag"'}) as answer:
        return answer.status, b"".join([chunk async for chunk in answer.body()])


async def test_connection_is_reused_after_full_read():
    server = ScriptedServer(OK + b"first", OK + b"again")
    async with server.url() as url:
        connections = Connections()
        assert [await get(connections, url), await get(connections, url)] == [(200, b"first"), (200, b"again")]
        connections.close()
    assert server.connections == 1
    assert server.requests[0].startswith(b"GET /bucket/key?x=%2F HTTP/1.1\r\n")
    assert b'if-match: "etag"' in server.requests[0].lower()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nfirst",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["closes", "keeps"],
)
async def test_closed_connection_is_not_reused(answer):
    server = ScriptedServer(answer, None, OK + b"again")
    async with server.url() as url:
        connections = Connections()
        await get(connections, url)
        if b"close" not in answer:
            with pytest.raises(ConnectionBroken):
                await get(connections, url)
            assert await get(connections, url) == (200, b"again")
            assert server.connections == 2
        connections.close()


async def test_unread_body_closes_its_connection():
    server = ScriptedServer(OK + b"fir", OK + b"again")
    async with server.url() as url:
        connections = Connections()
        async with connections.get(url, {}) as answer:
            assert answer.size == 5
        assert await get(connections, url) == (200, b"again")
        connections.close()
    assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"HTTP/1.1 200",
        b"no HTTP at all\r\n\r\n",
        OK + b"four",
        OK + b"sixsix",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\nfirst",
    ],
    ids=["nothing", "half a head", "no HTTP", "too short", "too long", "invalid length"],
)
async def test_malformed_response_breaks_connection(answer):
    async with ScriptedServer(answer).url() as url:
        with pytest.raises(ConnectionBroken):
            await get(Connections(), url)


async def test_refused_connection_is_reported_broken(unused_tcp_port_factory: Callable[[], int]):
    with pytest.raises(ConnectionBroken):
        await get(Connections(), URL(f"http://127.0.0.1:{unused_tcp_port_factory()}/"))


@pytest.fixture(params=["http", "https"])
def tls(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext | None:
    """Test with TLS too, where other code of asyncio fills the buffer."""
    if request.param == "http":
        return None
    authority, known = CertificateAuthority(), tmp_path / "known.pem"
    known.write_text(authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(known))
    return authority.server_context(tmp_path)


@pytest.mark.parametrize("size", [0, 1, LEAST_READ_BYTES, READ_BUFFER_BYTES, READ_BUFFER_BYTES + 1, 8 * MIB + 3])
async def test_response_of_any_size_arrives_whole(size, tls):
    body = (bytes(range(251)) * (size // 251 + 1))[:size]
    answers = [b"HTTP/1.1 206 Partial Content\r\nContent-Length: %d\r\n\r\n" % size + body] * 2
    server, connections = ScriptedServer(*answers), Connections()
    async with server.url(tls) as url:
        for _ in answers:
            async with connections.get(url, {}) as answer:
                await asyncio.sleep(0.05)
                assert answer.status == 206
                assert b"".join([chunk async for chunk in answer.body()]) == body
        connections.close()
    assert server.connections == 1


# ---------------------------------------------------------------- parts

FIVE_BYTES = Part("archives/x/parts/blob/1", 5, '"etag"')
WHOLE, FIRST_TWO = PartRange(FIVE_BYTES, 0, 5), PartRange(FIVE_BYTES, 0, 2)


async def read(source: PartRange, status: int, body: bytes) -> tuple[bytes, bytes]:
    """Return the bytes that come of an answer, and the request."""
    server = ScriptedServer(b"HTTP/1.1 %d S3\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)
    async with server.url() as url:
        client = boto3.Session("key", "secret", region_name="eu-west-1").client("s3", endpoint_url=str(url.origin()))
        stream = S3Stream(S3Signer(client, "bucket", Credentials("key", "secret")))
        try:
            return b"".join([bytes(chunk) async for chunk in stream.read(source)]), server.requests[0].lower()
        finally:
            await stream.close()


@pytest.mark.parametrize(("source", "status", "body"), [(WHOLE, 200, b"bytes"), (FIRST_TWO, 206, b"by")])
async def test_pinned_part_is_read_whole_or_by_range(source: PartRange, status: int, body: bytes):
    content, request = await read(source, status, body)
    assert content == body
    assert b'\r\nif-match: "etag"\r\n' in request
    assert (b"\r\nrange: bytes=0-1\r\n" in request) == (source is FIRST_TWO)


@pytest.mark.parametrize(
    ("source", "status", "body"),
    [
        (WHOLE, 200, b"byte"),
        (WHOLE, 200, b"bytes!"),
        (WHOLE, 206, b"bytes"),
        (FIRST_TWO, 206, b"bytes"),
        (FIRST_TWO, 200, b"by"),
    ],
    ids=["shorter", "longer", "a range instead of all", "a longer range", "all instead of a range"],
)
async def test_answer_other_than_asked_for_is_not_read(source: PartRange, status: int, body: bytes):
    """The bytes might be those of another place in the archive."""
    with pytest.raises(Unavailable, match=f"{status}, {len(body)} bytes"):
        await read(source, status, body)


@pytest.mark.parametrize("status", [404, 412], ids=["missing", "replaced"])
async def test_missing_or_replaced_part_is_gone(status: int):
    with pytest.raises(ObjectGone):
        await read(WHOLE, status, b"")
