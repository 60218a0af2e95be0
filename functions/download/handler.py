"""API Gateway's event in, the archive or a redirect out."""

import asyncio
from contextlib import aclosing
from functools import cache
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from mangum import Mangum
from mangum.types import LambdaContext
from starlette.responses import StreamingResponse
from starlette.types import Send

from actions_cache import events
from actions_cache.domain.errors import TryAgain
from actions_cache.domain.ranges import range_applies
from actions_cache.domain.signing import Direction
from actions_cache.download import Content, Redirect, etag_of
from actions_cache.download_services import DownloadServices
from actions_cache.http.app import absolute, base_url, came_through_edge, new_app, signed
from actions_cache.http.contents import check_if_match, content_headers
from actions_cache.logs import StreamBroken, api_gateway_refusal, handled
from actions_cache.ports import Chunk, Telemetry
from actions_cache.services import CoreServices
from actions_cache.settings import SeekThrough, Settings


@cache
def asgi_app() -> FastAPI:
    data = DownloadServices(CoreServices(Settings()))
    data.connect()
    return create_app(data)


@handled
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return api_gateway_refusal(event) or Mangum(asgi_app(), lifespan="off")(event, context)


ANSWER_SECONDS = 25
"""How long the wait for a merge and for the first bytes may take in all; API Gateway gives up at 29 s."""

RESERVED = ":/%#?=@[]!$&'()*+,;"
"""Characters of a URL that stay as they are in a header; other parts of PUBLIC_URL might not be ASCII."""

FIRST_BYTES_SECONDS = 4
"""What the first bytes get at least, however long the merge was waited for: 25 s at most (MERGE_WAIT_SECONDS)."""


def create_app(data: DownloadServices) -> FastAPI:
    telemetry = data.core.telemetry
    app = new_app(telemetry, edge_key=data.core.settings.edge_key)
    by_signature = [signed(data.core.urls, Direction.DOWNLOAD)]
    settings = data.core.settings

    @app.get("/blobs/download/{archive}", dependencies=by_signature)
    async def download(archive: str, request: Request) -> Response:
        # x-ms-range wins over Range; S3 would ignore it, so its askers aren't sent there
        # (docs/design/protocol.md#x-ms-range).
        azure_range = request.headers.get("x-ms-range")
        wanted = azure_range if azure_range is not None else plain_range(request, archive)
        pins_our_etag = "if-match" in request.headers or "if-range" in request.headers
        can_read_from_s3 = azure_range is None and not pins_our_etag
        may_use_edge = came_through_edge(request) and settings.seek_through is SeekThrough.EDGE
        answer_by = asyncio.get_running_loop().time() + ANSWER_SECONDS
        delivered = await data.download(archive, wanted, can_read_from_s3=can_read_from_s3, through_edge=may_use_edge)
        if isinstance(delivered, Redirect):
            return redirect(absolute(delivered.url, base_url(request, settings.public_url)))
        check_if_match(request, delivered)
        return await ArchiveResponse.started(delivered, answer_by, settings.max_stream_seconds, telemetry)

    return app


def plain_range(request: Request, archive_id: str) -> str | None:
    return request.headers.get("range") if range_applies(request.headers.get("if-range"), etag_of(archive_id)) else None


def redirect(url: str) -> Response:
    """Return a redirect with a body: streamed answers without one have been reported never to end.

    https://github.com/awslabs/aws-lambda-web-adapter/issues/499
    """
    return Response("its bytes are at Location\n", 302, {"Location": quote(url, safe=RESERVED)}, "text/plain")


class ArchiveResponse(StreamingResponse):
    """Ends only after the last byte: any fault, and the end of the permitted time, breaks the connection."""

    def __init__(self, content: Content, first_chunk: Chunk, max_seconds: int, telemetry: Telemetry) -> None:
        super().__init__(content.chunks, 206 if content.is_partial else 200, content_headers(content))
        self._content = content
        self._first_chunk = first_chunk
        self._max_seconds = max_seconds
        self._telemetry = telemetry
        self._sent = 0

    @classmethod
    async def started(
        cls, content: Content, answer_by: float, max_seconds: int, telemetry: Telemetry
    ) -> "ArchiveResponse":
        """With its first bytes at hand, so that what fails before them is answered with a status.

        A client gives up 5 s after headers that no byte follows, but waits for headers much longer.

        Args:
            content: not read from yet.
            answer_by: until when, by the loop's clock, the first bytes are waited for.
            max_seconds: of the whole stream.
            telemetry: hears of a stream that broke.
        """
        timeout = max(FIRST_BYTES_SECONDS, answer_by - asyncio.get_running_loop().time())
        try:
            async with asyncio.timeout(timeout):
                first_chunk = await anext(content.chunks, b"")
        except TimeoutError:
            raise TryAgain("the storage behind this cache doesn't bring the first bytes; try again") from None
        return cls(content, first_chunk, max_seconds, telemetry)

    async def stream_response(self, send: Send) -> None:
        """Raises StreamBroken, by which the web server breaks the connection."""
        try:
            await self._send_all(send)
        except Exception as error:
            self._telemetry.emit(events.stream_broken(self._sent, self._content.wanted.size, error))
            raise StreamBroken from error

    async def _send_all(self, send: Send) -> None:
        async with asyncio.timeout(self._max_seconds), aclosing(self._content.chunks) as chunks:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await self._send(send, self._first_chunk)
            async for chunk in chunks:
                await self._send(send, chunk)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send, chunk: Chunk) -> None:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
        self._sent += len(chunk)
