"""A local run behind API Gateway and Lambda, with AWS's caps on one request.

The CDN edge in front of both isn't capped: what it sends to the bucket passes to the local run, which has that edge.
"""

import asyncio
import shlex
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from dev.clients.local_server import running_server
from dev.emulation.lambda_web_adapter import (
    EnvironmentFailed,
    NoAnswer,
    StreamingFunction,
    error_text,
    template_variables,
)
from dev.emulation.proxy import Traffic, answer_of, broken, connections, end_to_end, passed_on, served

MB = 1000 * 1000

CHUNK_BYTES = 32 * 1024
"""Size of the pieces in which a stream is paced."""

SLACK_SECONDS = 0.1
"""Time that a pace may be behind and still catch up; what a longer stall leaves unused is lost."""

API_HOST = "api.execute-api.local"

STAGE = "/v1/"
"""Beginning of paths at the API's own host."""

VIEWER_HOST = "X-Viewer-Host"
"""Name of the header that the edge adds."""

PLAIN_STREAMING = {"STREAM_MAX_BYTES": "", "STREAM_BYTES_PER_SECOND": ""}
"""Settings of a server that knows of no caps: it streams whatever isn't merged."""


@dataclass(frozen=True, kw_only=True)
class Caps:
    """Limits of one request, in bytes and seconds: AWS's own numbers, the stricter reading where there are two.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-response-streaming.html and
    https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode.html
    """

    lambda_burst: int = 6 * MB
    gateway_burst: int = 10 * MB
    per_second: int = 2 * MB
    """Pace after the burst, of Lambda and API Gateway each."""
    max_stream: int = 200 * MB
    """Lambda's wall: the bytes after it are lost, and the connection with them."""
    gateway_request: int = 10 * MB
    lambda_payload: int = 6 * MB
    """Largest request, and largest response that doesn't stream."""
    headers_seconds: float = 29
    """API Gateway's timeout until a response begins."""
    total_seconds: float = 15 * 60

    @property
    def lambda_binary(self) -> int:
        """Largest binary body, which API Gateway hands over in base64."""
        return self.lambda_payload * 3 // 4

    def scaled(self, *, sizes: float = 1, speed: float = 1) -> "Caps":
        """Return caps for streams that are so many times as long, and as fast, as AWS's."""
        return replace(
            self,
            lambda_burst=int(self.lambda_burst * sizes),
            gateway_burst=int(self.gateway_burst * sizes),
            max_stream=int(self.max_stream * sizes),
            per_second=int(self.per_second * speed),
        )

    def as_settings(self) -> dict[str, str]:
        """Return the delivery rule's settings for these caps, as near to the wall as the template's are to AWS's."""
        return {
            "STREAM_MAX_BYTES": str(self.max_stream * 995 // 1000),
            "STREAM_BURST_BYTES": str(self.lambda_burst),
            "STREAM_BYTES_PER_SECOND": str(self.per_second),
        }


@contextmanager
def local_run(directory: Path, settings: Mapping[str, str]) -> Iterator["LocalRun"]:
    """Start a local run, and stop it after the block.

    Args:
        directory: an empty one.
        settings: environment variables, as for `make run`.

    Raises:
        ServerFailed: it ended, or wasn't ready in time.
    """
    with running_server(directory, settings) as url:
        yield LocalRun(url, directory)


@dataclass(frozen=True)
class LocalRun:
    url: str
    directory: Path

    def variables(self) -> dict[str, str]:
        """Return its `.local/env`: where the emulators are, and what the resources are called."""
        lines = (self.directory / "data" / "env").read_text().splitlines()
        pairs = (shlex.split(line)[1].partition("=") for line in lines)
        return {name: value for name, _, value in pairs}

    def download_variables(self, caps: Caps, settings: Mapping[str, str]) -> dict[str, str]:
        """Return the download function's environment, as in the template but for these caps and settings.

        Args:
            caps: limits that the function is told of.
            settings: changes; an empty value unsets one.
        """
        variables = {**template_variables(), **self.variables(), **caps.as_settings(), **settings}
        return {name: value for name, value in variables.items() if value}

    @property
    def download_log(self) -> Path:
        return self.directory / "download.log"

    @contextmanager
    def behind(self, caps: Caps, settings: Mapping[str, str] | None = None, **more: Any) -> Iterator["Gateway"]:
        """Put the run behind a gateway.

        Args:
            caps: limits of the gateway.
            settings: changes of the download function's settings.
            more: fields of Gateway.
        """
        variables = self.download_variables(caps, settings or {})
        with Gateway(self.url, StreamingFunction(variables, self.download_log), caps, **more).served() as gateway:
            yield gateway


@dataclass
class Gateway:
    """API Gateway, where the jobs' requests arrive.

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
        """Return the request's body; None if it is larger than API Gateway, or Lambda behind it, takes."""
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
    except aiohttp.ClientError as error:
        yield error_text(error)


def _is_the_edges(request: web.Request) -> bool:
    """Return whether the CDN edge sends the request to the bucket, so that no function sees it."""
    if request.path.startswith("/blobs/object/"):
        return True
    is_part = request.query.get("comp", "block") == "block"
    return request.method == "PUT" and request.path.startswith("/blobs/upload/") and is_part


def _too_large() -> web.Response:
    return _error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "resource_exhausted", "API Gateway takes no body over 10 MB")


def _error(status: HTTPStatus, code: str, message: str) -> web.Response:
    """Return an error like those of the template's gateway responses."""
    return web.json_response({"code": code, "msg": message}, status=status, headers={"x-ms-request-id": "gateway"})


class Pace:
    """A token bucket that is filled once with the burst, and then only as fast as it is emptied."""

    def __init__(self, burst: int, per_second: int) -> None:
        self._burst = burst
        self._per_second = per_second
        self._passed_at = 0.0

    def delay(self, size: int, now: float) -> float:
        """Return the seconds, from `now` of a monotonic clock, for which so many more bytes are to be held back."""
        free = min(size, self._burst)
        self._burst -= free
        self._passed_at = max(now - SLACK_SECONDS, self._passed_at) + (size - free) / self._per_second
        return max(0.0, self._passed_at - now)
