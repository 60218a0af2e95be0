"""Answer API Gateway's events with an archive's bytes, or a redirect to them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import cache
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from mangum import Mangum
from mangum.types import LambdaContext
from starlette.responses import StreamingResponse
from starlette.types import Send

from actions_cache import events
from actions_cache.domain.errors import TryAgain
from actions_cache.domain.ranges import range_applies
from actions_cache.domain.signing import Direction
from actions_cache.download import Content, Listed, Redirect, etag_of
from actions_cache.download_services import DownloadServices
from actions_cache.http.app import absolute, base_url, came_through_edge, check_signed_url, hook_of, new_app
from actions_cache.http.headers import VARIES, check_if_match, content_headers
from actions_cache.http.part_lists import part_list_body, part_list_headers, wants_parts
from actions_cache.logs import StreamBroken, api_gateway_refusal, append, handled
from actions_cache.ports import Chunk, Telemetry
from actions_cache.services import CoreServices
from actions_cache.settings import SeekThrough, Settings
from actions_cache.startup import make_at_start


@handled
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return api_gateway_refusal(event) or Mangum(asgi_app(), lifespan="off")(event, context)


@cache
def asgi_app() -> FastAPI:
    services = DownloadServices(CoreServices(Settings()))
    services.connect()
    return create_app(services)


def create_app(services: DownloadServices) -> FastAPI:
    app = new_app(services.core.telemetry, edge_key=services.core.settings.edge_key)
    app.state.services = services
    app.include_router(router)
    return app


ANSWER_SECONDS = 25
"""Seconds that waiting for a merge and for the first bytes may take together; API Gateway gives up at 29 s."""

FIRST_BYTES_SECONDS = 4
"""Seconds that the first bytes get at least, however long the merge took: 25 s at most (MERGE_WAIT_SECONDS)."""

RESERVED = ":/%#?=@[]!$&'()*+,;"
"""Characters of a URL that stay as they are in a header; other parts of PUBLIC_URL might not be ASCII."""

router = APIRouter()


async def get_services(request: Request) -> DownloadServices:
    services: DownloadServices = request.app.state.services
    return services


Services = Annotated[DownloadServices, Depends(get_services)]


async def get_archive(archive: str, request: Request, services: Services) -> str:
    """Return the id of the archive that a signed URL names."""
    await check_signed_url(request, services.core.urls, Direction.DOWNLOAD, archive)
    return archive


@router.get("/blobs/download/{archive}")
async def download(archive: Annotated[str, Depends(get_archive)], request: Request, services: Services) -> Response:
    settings = services.core.settings
    # x-ms-range wins over Range. S3 would ignore it, so clients that send it aren't redirected there
    # (docs/design/protocol.md#x-ms-range).
    azure_range = request.headers.get("x-ms-range")
    wanted = azure_range if azure_range is not None else plain_range(request, archive)
    pins_our_etag = "if-match" in request.headers or "if-range" in request.headers
    can_read_from_s3 = azure_range is None and not pins_our_etag
    server_url = base_url(request, settings.public_url)
    if wants_parts(request.headers.getlist("accept")):
        if hook := hook_of(request):
            append(hook_version=hook.version, hook_mode=hook.mode)
        wants_all = can_read_from_s3 and "range" not in request.headers
        listed = await services.download.list_parts(archive, wants_all=wants_all, server_url=server_url)
        if listed is not None:
            return part_list(listed)
    may_use_edge = came_through_edge(request) and settings.seek_through is SeekThrough.EDGE
    answer_by = asyncio.get_running_loop().time() + ANSWER_SECONDS
    delivered = await services.download(archive, wanted, can_read_from_s3=can_read_from_s3, through_edge=may_use_edge)
    if isinstance(delivered, Redirect):
        return redirect(absolute(delivered.url, server_url))
    check_if_match(request, delivered)
    return await ArchiveResponse.started(delivered, answer_by, settings.max_stream_seconds, services.core.telemetry)


def plain_range(request: Request, archive_id: str) -> str | None:
    """Return the Range header, or None if its If-Range names another ETag."""
    return request.headers.get("range") if range_applies(request.headers.get("if-range"), etag_of(archive_id)) else None


def redirect(url: str) -> Response:
    """Return a redirect with a body: streamed answers without one have been reported never to end.

    https://github.com/awslabs/aws-lambda-web-adapter/issues/499
    """
    return Response("its bytes are at Location\n", 302, {"Location": quote(url, safe=RESERVED), **VARIES}, "text/plain")


def part_list(listed: Listed) -> Response:
    """Return a part list. All its bytes are sent at once, but it ends with the claim of the merge.

    Lambda freezes the function when its answer ends, and the claim with it.
    """
    body = part_list_body(listed.parts)

    async def sent_until_claimed() -> AsyncIterator[bytes]:
        yield body
        if listed.claim is not None:
            await asyncio.wait([listed.claim])

    return StreamingResponse(sent_until_claimed(), headers=part_list_headers(body))


class ArchiveResponse(StreamingResponse):
    """Streams an archive, and ends only after its last byte: an error, or a timeout, breaks the connection."""

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
        """Return a response that has its first bytes, so that an error before them is answered with a status.

        A client gives up 5 s after headers that no byte follows, but waits for headers much longer.

        Args:
            content: the archive, not read from yet.
            answer_by: time of the loop's clock until which the first bytes are waited for.
            max_seconds: seconds that the whole stream may take.
            telemetry: receives an event if the stream breaks.

        Raises:
            TryAgain: the first bytes don't come in time.
        """
        timeout = max(FIRST_BYTES_SECONDS, answer_by - asyncio.get_running_loop().time())
        try:
            async with asyncio.timeout(timeout):
                first_chunk = await anext(content.chunks, b"")
        except TimeoutError:
            raise TryAgain("the storage behind this cache doesn't bring the first bytes; try again") from None
        return cls(content, first_chunk, max_seconds, telemetry)

    async def stream_response(self, send: Send) -> None:
        """Send the archive.

        Raises:
            StreamBroken: makes the web server break the connection.
        """
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


make_at_start(asgi_app)
