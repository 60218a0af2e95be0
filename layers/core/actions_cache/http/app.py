"""What the three HTTP functions' apps have in common: faults in the client's dialect, and ids on blob replies."""

import hmac
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import urlsplit
from uuid import uuid4

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actions_cache import events, logs
from actions_cache.domain.errors import CacheError, InvalidRequest, PermissionDenied, TryAgain
from actions_cache.domain.signing import EXPIRES, SIGNATURE, Direction
from actions_cache.http import artifact_cache, azure, twirp
from actions_cache.http.answer import Answer
from actions_cache.ports import Telemetry, Unavailable
from actions_cache.settings import SeekThrough, Settings
from actions_cache.urls import UrlSigner

VIEWER_HOST = "x-viewer-host"
"""What the edge adds to a request: the host that its client asked. A function that knew the distribution's domain would
make a cycle of the template's resources. Whoever sends it past the edge only gets URLs that lead elsewhere."""

ORIGIN_KEY = "x-origin-key"
"""What the edge says to the API where it guards it (EDGE_KEY): nobody else's requests are answered."""

REQUEST_ID = "request_id"
"""Where a request's scope has it."""

HSTS_SECONDS = 365 * 24 * 3600
"""Seconds that a browser keeps to https after its last visit. Longer: fewer first visits by http; shorter: a name is
sooner free for a server without TLS."""

CLIENT_GONE = 499
"""What nginx's log says of it; nobody is left to read it."""

_HOST = re.compile(r"[A-Za-z0-9.\-\[\]:]+")


class Dialect(Protocol):
    """How a kind of client wants to be told (http/twirp.py, http/azure.py, http/artifact_cache.py, http/github.py)."""

    @property
    def cache_error(self) -> Callable[[CacheError], Answer]: ...

    @property
    def internal_error(self) -> Callable[[], Answer]: ...

    @property
    def no_route(self) -> Callable[[str, str], Answer]: ...


def respond(answer: Answer) -> Response:
    return Response(answer.body, answer.status, dict(answer.headers))


def new_app(
    telemetry: Telemetry,
    dialect: Dialect | None = None,
    *,
    edge_key: str | None = None,
    public_url: str | None = None,
    is_for_people: bool = False,
    **options: Any,
) -> FastAPI:
    """Return an app without routes that answers every fault in one dialect, or in that of the requested path.

    Args:
        telemetry: hears of every fault.
        dialect: None for the path's.
        edge_key: value that proves a request came through the edge; None answers all requests.
        public_url: beginning of our URLs, if set.
        is_for_people: whether browsers come here, which are told to keep to https.
        options: FastAPI's own.
    """
    app = FastAPI(**{"openapi_url": None, "redirect_slashes": False, **options})

    def dialect_of(request: Request) -> Dialect:
        return dialect or _dialect(request)

    if edge_key is not None:
        app.add_middleware(RequireEdge, edge_key=edge_key, dialect_of=dialect_of, telemetry=telemetry)
    app.add_middleware(RequestIds)
    app.add_middleware(PrivateHeaders, public_url=public_url, is_for_people=is_for_people)

    @app.exception_handler(CacheError)
    async def refused(request: Request, error: CacheError) -> Response:
        telemetry.emit(events.refused(_asked(request), error))
        return respond(dialect_of(request).cache_error(error))

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        return await refused(request, InvalidRequest("; ".join(map(_said, error.errors()))))

    @app.exception_handler(Unavailable)
    async def unavailable(request: Request, error: Unavailable) -> Response:
        telemetry.emit(events.unavailable(_asked(request), error))
        silent = TryAgain("the storage behind this cache doesn't answer; try again")
        return respond(dialect_of(request).cache_error(silent))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        if not isinstance(error, logs.StreamBroken):
            telemetry.emit(events.failed(_asked(request), error))
        response = respond(dialect_of(request).internal_error())
        # This handler alone answers from outside the app's middleware.
        response.headers.update(private_headers(request, response.headers, public_url, is_for_people=is_for_people))
        if _is_blob(request.url.path):
            response.headers.update(azure.base_headers(request.scope[REQUEST_ID]))
        return response

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:  # noqa: ARG001 - the framework's shape
        telemetry.emit(events.client_gone(_asked(request)))
        return Response(status_code=CLIENT_GONE)

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, error: HTTPException) -> Response:
        if error.status_code == HTTPStatus.BAD_REQUEST:
            # The framework's, of a body that it can't decode, or that is nested too deep.
            return await refused(request, InvalidRequest("the body isn't JSON that can be read"))
        return respond(dialect_of(request).no_route(request.method, request.url.path))

    return app


def came_through_edge(request: Request) -> bool:
    return VIEWER_HOST in request.headers


def base_url(request: Request, public_url: str | None) -> str:
    """What URLs of ours begin with, for this client: as set, or the host that it asked."""
    if public_url:
        return public_url.rstrip("/")
    host = request.headers.get(VIEWER_HOST, "")
    return f"{request.url.scheme}://{host}" if _HOST.fullmatch(host) else str(request.base_url).rstrip("/")


@dataclass(frozen=True, slots=True)
class Reader:
    """Describes the client that looks an entry up."""

    can_read_from_s3: bool
    through_edge: bool
    """True if the request may be redirected to the edge's object URLs."""
    base_url: str
    """Beginning of the URLs that the client reads from."""


S3_READERS = ("@actions/cache-", "actions/cache", "opendal/", "sccache/")
"""Beginnings of the user agents of clients that may be sent to S3: these read whole objects or seek with `Range`. S3
ignores `x-ms-range`, so a client that seeks with it would get the wrong bytes without an error
(docs/design/protocol.md#x-ms-range)."""


def client_reads_from_s3(user_agent: str) -> bool:
    """Return whether S3 serves this client the right bytes; unknown clients count as seeking with `x-ms-range`."""
    return user_agent.lower().startswith(S3_READERS)


def reader_of(request: Request, settings: Settings) -> Reader:
    """Return the reader; SEEK_THROUGH may send clients that can ask by x-ms-range past the edge."""
    can_read_from_s3 = client_reads_from_s3(request.headers.get("user-agent", ""))
    base = base_url(request, settings.public_url)
    if settings.seek_through is SeekThrough.EDGE or can_read_from_s3:
        return Reader(can_read_from_s3, came_through_edge(request), base)
    return Reader(can_read_from_s3, through_edge=False, base_url=api_url(request) or base)


def api_url(request: Request) -> str | None:
    """Return the API's own URL from API Gateway's event; None without such an event."""
    context = request.scope.get("aws.event", {}).get("requestContext", {})
    host, stage = context.get("domainName"), context.get("stage")
    return f"{request.url.scheme}://{host}/{stage}" if host and stage else None


def is_secure(request: Request, public_url: str | None) -> bool:
    """Return whether this client came by https: a proxy that ends TLS doesn't always say so, but PUBLIC_URL does."""
    return base_url(request, public_url).startswith("https:")


def private_headers(
    request: Request, answered: Mapping[str, str], public_url: str | None, *, is_for_people: bool
) -> dict[str, str]:
    """Return the headers for caches and browsers that an answer lacks.

    No cache may keep an answer: some hold signed URLs, others what only the token's owner may see. Blobs have S3's and
    Azure's headers instead. HSTS leaves out subdomains, which may not be ours, and `localhost`, whose other ports would
    no longer be reachable by http.
    """
    headers: dict[str, str] = {}
    if "cache-control" not in answered and not _is_blob(request.scope["path"]):
        headers["Cache-Control"] = "no-store"
    if is_for_people and _is_secure_name(request, public_url):
        headers["Strict-Transport-Security"] = f"max-age={HSTS_SECONDS}"
    return headers


def _is_secure_name(request: Request, public_url: str | None) -> bool:
    try:
        asked = urlsplit(base_url(request, public_url))
        return asked.scheme == "https" and (asked.hostname or "").rpartition(".")[2] != "localhost"
    except ValueError:
        # The Host header is invalid, half of an IPv6 address say.
        return False


def absolute(url: str, base: str) -> str:
    """@actions/cache follows no relative redirect."""
    return base + url if url.startswith("/") else url


def signed(urls: UrlSigner, direction: Direction) -> Any:
    """A dependency of a route with `{archive}` in its path: the URL's signature must be good."""

    async def check(archive: str, request: Request) -> None:
        query = request.query_params
        await run_in_threadpool(urls.check, direction, archive, query.get(EXPIRES, ""), query.get(SIGNATURE, ""))
        logs.append(archive_id=archive)

    return Depends(check)


def _dialect(request: Request) -> Dialect:
    if request.url.path.startswith(f"{artifact_cache.ROOT}/"):
        return artifact_cache
    return azure if _is_blob(request.url.path) else twirp


def _is_blob(path: str) -> bool:
    return path.startswith("/blobs/")


def _asked(request: Request) -> str:
    """Without the query, which carries a signature."""
    return f"{request.method} {request.url.path[:200]}"


def _said(error: dict[str, Any]) -> str:
    """What pydantic found, with its place in the query or the body."""
    _, *place = error["loc"]
    where = ".".join(map(str, place))
    return f"{where}: {error['msg']}" if where else str(error["msg"])


def signer(request: Request) -> str | None:
    """The ARN of who signed the request, as far as API Gateway checked it (functions/manage/access.py)."""
    found = getattr(request.state, "signer", None)
    return None if found is None else str(found)


class RequireEdge:
    """Refuses what came past the edge, whose web ACL would mean nothing otherwise; but not whom IAM let in."""

    def __init__(
        self, app: ASGIApp, edge_key: str, dialect_of: Callable[[Request], Dialect], telemetry: Telemetry
    ) -> None:
        self.app = app
        self._edge_key = edge_key.encode()
        self._dialect_of = dialect_of
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request = Request(scope)
            came_by_edge = hmac.compare_digest(request.headers.get(ORIGIN_KEY, "").encode(), self._edge_key)
            if not came_by_edge and signer(request) is None:
                refused = PermissionDenied("this cache is reached through its edge alone: by the stack's RunnerUrl")
                self._telemetry.emit(events.refused(_asked(request), refused))
                await respond(self._dialect_of(request).cache_error(refused))(scope, receive, send)
                return
        await self.app(scope, receive, send)


class PrivateHeaders:
    """Adds headers for caches and browsers."""

    def __init__(self, app: ASGIApp, public_url: str | None, *, is_for_people: bool) -> None:
        self.app = app
        self._public_url = public_url
        self._is_for_people = is_for_people

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(
                    private_headers(Request(scope), headers, self._public_url, is_for_people=self._is_for_people)
                )
            await send(message)

        await self.app(scope, receive, send_with_headers)


class RequestIds:
    """Each request has one id, Lambda's or one of its own, in all its log lines and, if a blob's, in its answer.

    In errors too: BuildKit panics without one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope[REQUEST_ID] = request_id
        logs.begin(request_id)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start" and _is_blob(scope["path"]):
                MutableHeaders(scope=message).update(azure.base_headers(request_id))
            await send(message)

        await self.app(scope, receive, send_with_id)


def _request_id(scope: Scope) -> str:
    """Lambda's, as Mangum or Lambda Web Adapter hands it on."""
    if (lambdas := scope.get("aws.context")) is not None:
        return str(lambdas.aws_request_id)
    context = _adapters_context(scope)
    # Where the runtime puts it for what it calls itself: so boto3's calls, and their messages, belong to the trace.
    if trace := context.get("xray_trace_id"):
        os.environ["_X_AMZN_TRACE_ID"] = str(trace)
    return str(context.get("request_id") or uuid4().hex)


def _adapters_context(scope: Scope) -> dict[str, Any]:
    """Only the adapter is believed: it replaces what a client sends under this name. Elsewhere a client could."""
    if "AWS_LWA_PORT" not in os.environ:
        return {}
    sent = next((value for name, value in scope["headers"] if name == b"x-amzn-lambda-context"), b"{}")
    context: dict[str, Any] = json.loads(sent)
    return context
