"""API Gateway with Lambda's caps on it, before the local run and the streaming download function.

The CDN edge in front of both isn't capped: what it sends to the bucket passes to the local run, which has that edge.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from dev.emulation.api_gateway import Caps, Pace
from dev.emulation.lambda_web_adapter import EnvironmentFailed, NoAnswer, StreamingFunction, error_text
from dev.emulation.proxy import Traffic, answer_of, broken, connections, end_to_end, passed_on, served

CHUNK_BYTES = 32 * 1024
"""What is paced at a time."""

API_HOST = "api.execute-api.local"

STAGE = "/v1/"
"""Beginning of paths at the API's own host."""

VIEWER_HOST = "X-Viewer-Host"
"""Name of the header that the edge adds."""


@dataclass
class Gateway:
    """Stands for the place where clients come in: a job's server.

    Args:
        local_run: its URL.
        download: the function behind `/blobs/download/`.
        caps: limits of both.
        api: the URL of the function behind all else; None for the local run's.
        edge_drops_ranges: whether the CDN edge answers with the whole where only `x-ms-range` asked for a part.
    """

    local_run: str
    download: StreamingFunction
    caps: Caps
    api: str | None = None
    edge_drops_ranges: bool = False
    through_api: Traffic = field(default_factory=Traffic)
    through_download: Traffic = field(default_factory=Traffic)
    url: str = ""
    _session: aiohttp.ClientSession = field(init=False)

    @contextmanager
    def served(self) -> Iterator["Gateway"]:
        with served(self._handle, self._lifespan()) as self.url:
            yield self

    @asynccontextmanager
    async def _lifespan(self) -> AsyncIterator[None]:
        async with connections() as self._session:
            yield
            await self.download.stop()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        request = self._at_the_api(request) if request.path.startswith(STAGE) else self._through_the_edge(request)
        if request.path.startswith("/blobs/download/") and request.method == "GET":
            return await self._download(request)
        if _is_the_edges(request):
            body = request.content if request.body_exists else None
            async with answer_of(self.local_run, request, body, self._session) as answer:
                return await passed_on(request, answer)
        return await self._api(request)

    def _at_the_api(self, request: web.Request) -> web.Request:
        """Return the request as it comes past the edge, at the API's own host: the path has the stage."""
        return request.clone(rel_url=request.raw_path.removeprefix(STAGE.rstrip("/")))

    def _through_the_edge(self, request: web.Request) -> web.Request:
        dropped = ("x-ms-range",) if self.edge_drops_ranges else ()
        headers = CIMultiDict((name, value) for name, value in request.headers.items() if name.lower() not in dropped)
        headers[VIEWER_HOST] = request.host
        return request.clone(headers=headers)

    # ---------------------------------------------------------------- a function that doesn't stream

    async def _api(self, request: web.Request) -> web.StreamResponse:
        body = await self._body(request)
        if body is None:
            return _too_large()
        self.through_api.received += len(body)
        async with answer_of(self.api or self.local_run, request, body or None, self._session) as answer:
            content = await answer.read()
            self.through_api.sent += len(content)
            if len(content) > self.caps.lambda_binary:
                return _error(HTTPStatus.BAD_GATEWAY, "internal", "Lambda's response is too large")
            return web.Response(status=answer.status, body=content, headers=end_to_end(answer.headers))

    # ---------------------------------------------------------------- the function that streams

    async def _download(self, request: web.Request) -> web.StreamResponse:
        body = await self._body(request)
        if body is None:
            return _too_large()
        self.through_download.received += len(body)
        # API Gateway sends the scheme.
        told = {"Host": API_HOST, "X-Forwarded-Proto": request.scheme}
        headers = {**end_to_end(request.headers), **told}
        clock = asyncio.get_running_loop().time
        answer_by = clock() + self.caps.headers_seconds
        try:
            async with (
                asyncio.timeout(self.caps.total_seconds),
                self.download.environment() as environment,
                environment.request(
                    request.method, request.raw_path, headers, body, within=answer_by - clock()
                ) as answer,
            ):
                return await self._streamed(request, answer)
        except NoAnswer:
            return _error(HTTPStatus.GATEWAY_TIMEOUT, "deadline_exceeded", "no answer within 29 s")
        except EnvironmentFailed as failure:
            return _error(HTTPStatus.BAD_GATEWAY, "internal", str(failure))
        except (aiohttp.ClientError, TimeoutError):
            return broken(request)

    async def _streamed(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        """Pass the body on with the announced length; if it falls short, break the client's connection.

        An answer without a body never ends: reported of Lambda's streaming, by aws-lambda-web-adapter#499 and others.
        """
        caps, clock, left = self.caps, asyncio.get_running_loop().time, self.caps.max_stream
        paces = Pace(caps.lambda_burst, caps.per_second), Pace(caps.gateway_burst, caps.per_second)
        response = web.StreamResponse(status=answer.status, headers=end_to_end(answer.headers))
        await response.prepare(request)
        announced = int(answer.headers["Content-Length"])
        passed = 0
        async for arrived in _as_the_adapter_sends(answer):
            for at in range(0, len(arrived), CHUNK_BYTES):
                chunk = arrived[at : at + CHUNK_BYTES][:left]
                if not chunk:
                    return broken(request)
                await asyncio.sleep(max(pace.delay(len(chunk), clock()) for pace in paces))
                self.through_download.sent += len(chunk)
                await response.write(chunk[: announced - passed])
                left -= len(chunk)
                passed += len(chunk)
        if not passed:
            await asyncio.sleep(caps.total_seconds)
        return response if passed >= announced else broken(request)

    async def _body(self, request: web.Request) -> bytes | None:
        """None where API Gateway, or Lambda behind it, takes no such body."""
        limit = min(self.caps.gateway_request, self.caps.lambda_binary)
        body = bytearray()
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > limit:
                return None
        return bytes(body)


async def _as_the_adapter_sends(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for arrived in answer.content.iter_any():
            yield arrived
    except aiohttp.ClientError as fault:
        yield error_text(fault)


def _is_the_edges(request: web.Request) -> bool:
    """What the CDN edge sends to the bucket: no function of ours sees it."""
    if request.path.startswith("/blobs/object/"):
        return True
    is_part = request.query.get("comp", "block") == "block"
    return request.method == "PUT" and request.path.startswith("/blobs/upload/") and is_part


def _too_large() -> web.Response:
    return _error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "resource_exhausted", "API Gateway takes no body over 10 MB")


def _error(status: HTTPStatus, code: str, message: str) -> web.Response:
    """As the template's gateway responses have it."""
    return web.json_response({"code": code, "msg": message}, status=status, headers={"x-ms-request-id": "gateway"})
