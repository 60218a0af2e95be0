"""A client that aborts its own upload is logged as such, and not as an error of the store."""

import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from aiohttp import web
from botocore.credentials import Credentials
from fastapi import Request, Response

from actions_cache.aws.s3_stream import S3Signer, S3Stream
from actions_cache.domain.errors import InvalidRequest
from actions_cache.domain.ranges import ByteRange
from actions_cache.http.app import new_app
from actions_cache.ports import Unavailable
from actions_cache.save import ReceivePart
from actions_cache.system import RandomTokens, SystemClock
from dev.emulation.asgi_server import served
from dev.emulation.proxy import served as store_served
from dev.local.edge.app import BucketOrigin
from tests.support.fakes import RecordingTelemetry

ARCHIVE = "0123456789abcdef0123456789abcdef"
SIZE = 10_000


async def store(request: web.Request) -> web.StreamResponse:
    """Take an object, or refuse it at once if its key ends in `refused`."""
    if request.path.endswith("refused"):
        return web.Response(status=500, text="no free volumes left")
    await request.read()
    return web.Response(headers={"ETag": '"e"'})


@pytest.fixture(scope="module")
def signer() -> Iterator[S3Signer]:
    with store_served(store, nullcontext()) as url:
        client = boto3.Session("key", "secret", region_name="eu-west-1").client("s3", endpoint_url=url)
        yield S3Signer(client, "bucket", Credentials("key", "secret"))


@pytest.fixture
def telemetry() -> RecordingTelemetry:
    return RecordingTelemetry()


@pytest.fixture
def url(signer: S3Signer, telemetry: RecordingTelemetry) -> Iterator[str]:
    receive = ReceivePart(S3Stream(signer), SystemClock(), RandomTokens())
    app = new_app(telemetry)

    @app.put("/blobs/upload/{kind}")
    @app.patch("/_apis/artifactcache/{kind}")
    async def upload(kind: str, request: Request) -> Response:
        body = request.stream()
        match kind:
            case "blob":
                await receive(ARCHIVE, None, SIZE, body)
            case "block":
                await receive(ARCHIVE, "QQ==", SIZE, body)
            case "append":
                await receive.appended(ARCHIVE, None, SIZE, body)
            case "chunk":
                await receive.chunk(ARCHIVE, ByteRange(0, SIZE), body)
        return Response(status_code=201)

    with served(app) as url:
        yield url


def abort_upload(url: str, method: str, path: str, *, chunked: bool) -> None:
    """Send half of a body, then close the connection."""
    address = urlsplit(url)
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % SIZE
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\n".encode() + length + b"\r\n\r\n"
    half = b"x" * (SIZE // 2)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(head + (b"%x\r\n%s\r\n" % (len(half), half) if chunked else half))
        time.sleep(0.2)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/blobs/upload/blob"),
        ("PUT", "/blobs/upload/block"),
        ("PUT", "/blobs/upload/append"),
        ("PATCH", "/_apis/artifactcache/chunk"),
    ],
)
def test_aborted_upload_is_no_error(url: str, telemetry: RecordingTelemetry, method: str, path: str, *, chunked: bool):
    abort_upload(url, method, path, chunked=chunked)
    until = time.monotonic() + 10
    while not telemetry.events and time.monotonic() < until:
        time.sleep(0.02)
    [event] = telemetry.events
    assert (event.name, event.is_error, dict(event.metrics)) == ("the client went away", False, {})
    assert event.fields == {"request": f"{method} {path}"}


async def half_a_body() -> AsyncIterator[bytes]:
    yield b"x" * (SIZE // 2)
    raise Gone


async def whole_body() -> AsyncIterator[bytes]:
    yield b"x" * SIZE


class Gone(Exception):
    pass


@pytest.fixture
async def stream(signer: S3Signer) -> AsyncIterator[S3Stream]:
    stream = S3Stream(signer)
    yield stream
    await stream.close()


async def test_client_error_precedes_store_error(stream: S3Stream):
    for key in ("parts", "refused"):
        with pytest.raises(Gone):
            await stream.write(key, SIZE, half_a_body())
    with pytest.raises(Unavailable, match="no free volumes"):
        await stream.write("refused", SIZE, whole_body())
    receive = ReceivePart(stream, SystemClock(), RandomTokens())
    with pytest.raises(InvalidRequest, match="announces"):
        await receive.chunk(ARCHIVE, ByteRange(0, SIZE + 1), whole_body())


async def test_local_edge_separates_client_and_bucket_errors(signer: S3Signer):
    origin = BucketOrigin(signer)
    headers: Any = [(b"content-length", str(SIZE).encode())]
    try:
        with pytest.raises(Gone):
            async with origin.answer("PUT", "/parts", headers, half_a_body()):
                pass
        async with origin.answer("PUT", "/parts", headers, whole_body()) as answer:
            assert answer.status == 200
    finally:
        await origin.close()
