"""The base of the three HTTP functions' apps: errors in the client's dialect, request ids, and private answers."""

import hmac
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actions_cache import events, logs
from actions_cache.domain.errors import CacheError, InvalidRequest, PermissionDenied, TryAgain
from actions_cache.domain.signing import EXPIRES, SIGNATURE, Direction
from actions_cache.http.errors import Dialect, dialect_of, is_blob, respond
from actions_cache.http.headers import base_headers
from actions_cache.ports import Telemetry, Unavailable
from actions_cache.settings import SeekThrough, Settings
from actions_cache.urls import UrlSigner


def new_app(
    telemetry: Telemetry,
    dialect: Dialect | None = None,
    *,
    edge_key: str | None = None,
    public_url: str | None = None,
    is_for_people: bool = False,
    **options: Any,
) -> FastAPI:
    """Return an app without routes that answers every error in one dialect, or in that of the requested path.

    Args:
        telemetry: receives an event for every error.
        dialect: None for the path's.
        edge_key: value that proves a request came through the edge; None answers all requests.
        public_url: beginning of this server's URLs, if set.
        is_for_people: whether browsers come here, which are told to keep to https.
        options: FastAPI's own.
    """
    app = FastAPI(**{"openapi_url": None, "redirect_slashes": False, **options})
    if edge_key is not None:
        app.add_middleware(RequireEdge, edge_key=edge_key, dialect=dialect, telemetry=telemetry)
    app.add_middleware(RequestIds)
    app.add_middleware(PrivateHeaders, public_url=public_url, is_for_people=is_for_people)
    handlers = _ErrorHandlers(telemetry, dialect, public_url, is_for_people)
    app.exception_handler(CacheError)(handlers.refuse)
    app.exception_handler(RequestValidationError)(handlers.refuse_malformed)
    app.exception_handler(Unavailable)(handlers.answer_unavailable)
    app.exception_handler(Exception)(handlers.answer_unexpected)
    app.exception_handler(ClientDisconnect)(handlers.note_client_gone)
    app.exception_handler(HTTPException)(handlers.answer_no_route)
    return app


CLIENT_GONE = 499
"""Status that nginx logs for a client that went away; nobody is left to read it."""


@dataclass(frozen=True, slots=True)
class _ErrorHandlers:
    """Emits an event for each error and answers it in the client's dialect. See new_app for the arguments."""

    telemetry: Telemetry
    dialect: Dialect | None
    public_url: str | None
    is_for_people: bool

    async def refuse(self, request: Request, error: CacheError) -> Response:
        self.telemetry.emit(events.refused(request_line(request), error))
        return respond(self._dialect(request).cache_error(error))

    async def refuse_malformed(self, request: Request, error: RequestValidationError) -> Response:
        return await self.refuse(request, InvalidRequest("; ".join(map(_explain, error.errors()))))

    async def answer_unavailable(self, request: Request, error: Unavailable) -> Response:
        self.telemetry.emit(events.unavailable(request_line(request), error))
        silent = TryAgain("the storage behind this cache doesn't answer; try again")
        return respond(self._dialect(request).cache_error(silent))

    async def answer_unexpected(self, request: Request, error: Exception) -> Response:
        if not isinstance(error, logs.StreamBroken):
            self.telemetry.emit(events.failed(request_line(request), error))
        response = respond(self._dialect(request).internal_error())
        # This handler alone answers from outside the app's middleware.
        response.headers.update(
            private_headers(request, response.headers, self.public_url, is_for_people=self.is_for_people)
        )
        if is_blob(request.url.path):
            response.headers.update(base_headers(request.scope[REQUEST_ID]))
        return response

    async def note_client_gone(self, request: Request, error: ClientDisconnect) -> Response:  # noqa: ARG002 - the framework's shape
        self.telemetry.emit(events.client_gone(request_line(request)))
        return Response(status_code=CLIENT_GONE)

    async def answer_no_route(self, request: Request, error: HTTPException) -> Response:
        if error.status_code == HTTPStatus.BAD_REQUEST:
            # Raised by the framework for a body that it can't decode, or that is nested too deep.
            return await self.refuse(request, InvalidRequest("the body isn't JSON that can be read"))
        return respond(self._dialect(request).no_route(request.method, request.url.path))

    def _dialect(self, request: Request) -> Dialect:
        return self.dialect or dialect_of(request.url.path)


def request_line(request: Request) -> str:
    """Return method and path, without the query, which carries a signature."""
    return f"{request.method} {request.url.path[:200]}"


def _explain(error: dict[str, Any]) -> str:
    """Return pydantic's message, with its place in the query or the body."""
    _, *place = error["loc"]
    where = ".".join(map(str, place))
    return f"{where}: {error['msg']}" if where else str(error["msg"])


# ---------------------------------------------------------------- for routes: URLs, and the client

VIEWER_HOST = "x-viewer-host"
"""Header that the edge adds to a request: the host that its client requested. A function that knew the distribution's
domain would make a cycle of the template's resources. A client that sends it past the edge only gets URLs that lead
elsewhere."""

_HOST = re.compile(r"[A-Za-z0-9.\-\[\]:]+")


def base_url(request: Request, public_url: str | None) -> str:
    """Return the beginning of this server's URLs for this client: as set, or with the host that it requested."""
    if public_url:
        return public_url.rstrip("/")
    host = request.headers.get(VIEWER_HOST, "")
    return f"{request.url.scheme}://{host}" if _HOST.fullmatch(host) else str(request.base_url).rstrip("/")


def absolute(url: str, base: str) -> str:
    """Return the URL with a host, since @actions/cache follows no relative redirect."""
    return base + url if url.startswith("/") else url


def api_url(request: Request) -> str | None:
    """Return the API's own URL from API Gateway's event; None without such an event."""
    context = request.scope.get("aws.event", {}).get("requestContext", {})
    host, stage = context.get("domainName"), context.get("stage")
    return f"{request.url.scheme}://{host}/{stage}" if host and stage else None


def came_through_edge(request: Request) -> bool:
    return VIEWER_HOST in request.headers


def is_secure(request: Request, public_url: str | None) -> bool:
    """Return whether this client came by https: a proxy that ends TLS doesn't always say so, but PUBLIC_URL does."""
    return base_url(request, public_url).startswith("https:")


def signer(request: Request) -> str | None:
    """Return the ARN that signed the request, as far as API Gateway checked it (functions/manage/access.py)."""
    arn = getattr(request.state, "signer", None)
    return None if arn is None else str(arn)


@dataclass(frozen=True, slots=True)
class Reader:
    """Describes the client that looks an entry up."""

    can_read_from_s3: bool
    through_edge: bool
    """True if the request may be redirected to the edge's object URLs."""
    base_url: str
    """Beginning of the URLs that the client reads from."""


def reader_of(request: Request, settings: Settings, version: str) -> Reader:
    """Return the reader; SEEK_THROUGH may send clients that can request by x-ms-range past the edge.

    Args:
        request: a lookup.
        settings: this server's.
        version: that of the entries which the lookup searches.
    """
    can_read_from_s3 = client_reads_from_s3(request.headers.get("user-agent", ""), version)
    base = base_url(request, settings.public_url)
    if settings.seek_through is SeekThrough.EDGE or can_read_from_s3:
        return Reader(can_read_from_s3, came_through_edge(request), base)
    return Reader(can_read_from_s3, through_edge=False, base_url=api_url(request) or base)


S3_READERS = ("@actions/cache-", "actions/cache", "hestia", "opendal/", "sccache/")
"""Beginnings of the user agents of clients that may be sent to S3: these read whole objects or seek with `Range`. S3
ignores `x-ms-range`, so a client that seeks with it would get the wrong bytes without an error
(docs/design/protocol.md#downloads has each client)."""

HESTIA_VERSION = "aa3f0c68abc7983158c10a1be8be9bbd7014211eee928dc266f9f0bb37e7be7a"
"""Version of all entries of hestia, whose lookups name no user agent: the SHA-256 of `hestia-2` (its
src/gha/twirp.rs)."""


def client_reads_from_s3(user_agent: str, version: str) -> bool:
    """Return whether S3 serves this client the right bytes; unknown clients count as seeking with `x-ms-range`."""
    return user_agent.lower().startswith(S3_READERS) or version == HESTIA_VERSION


_HOOK = re.compile(r"actions-cache-hook/([0-9.]{1,16}) \((point|protect|fast)\)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Hook:
    """Describes the hook on a runner that sent a request of its own."""

    version: str
    mode: str


def hook_of(request: Request) -> Hook | None:
    """Return the hook that sent the request, as its User-Agent says; None if it is another client's."""
    found = _HOOK.fullmatch(request.headers.get("user-agent", ""))
    return Hook(found[1], found[2]) if found else None


async def check_signed_url(request: Request, urls: UrlSigner, direction: Direction, archive_id: str) -> None:
    """Check the signature in a URL's query.

    Raises:
        PermissionDenied: it was altered, signed for something else, or has expired.
    """
    query = request.query_params
    await run_in_threadpool(urls.check, direction, archive_id, query.get(EXPIRES, ""), query.get(SIGNATURE, ""))
    logs.append(archive_id=archive_id)


# ---------------------------------------------------------------- middleware

ORIGIN_KEY = "x-origin-key"
"""Header with the key that the edge adds where it guards the API (EDGE_KEY): no other requests are answered."""


class RequireEdge:
    """Rejects requests that bypass the edge and so its web ACL, unless IAM authorized them."""

    def __init__(self, app: ASGIApp, edge_key: str, dialect: Dialect | None, telemetry: Telemetry) -> None:
        self.app = app
        self._edge_key = edge_key.encode()
        self._dialect = dialect
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request = Request(scope)
            has_key = hmac.compare_digest(request.headers.get(ORIGIN_KEY, "").encode(), self._edge_key)
            if not has_key and signer(request) is None:
                refused = PermissionDenied("this cache is reached through its edge alone: by the stack's RunnerUrl")
                self._telemetry.emit(events.refused(request_line(request), refused))
                dialect = self._dialect or dialect_of(request.url.path)
                await respond(dialect.cache_error(refused))(scope, receive, send)
                return
        await self.app(scope, receive, send)


HSTS_SECONDS = 365 * 24 * 3600
"""Seconds that a browser keeps to https after its last visit. Longer: fewer first visits by http; shorter: a name is
sooner free for a server without TLS."""


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


def private_headers(
    request: Request, answered: Mapping[str, str], public_url: str | None, *, is_for_people: bool
) -> dict[str, str]:
    """Return the headers for caches and browsers that an answer lacks.

    No cache may keep an answer: some hold signed URLs, others what only the token's owner may see. Blobs have S3's and
    Azure's headers instead. HSTS leaves out subdomains, which may belong to others, and `localhost`, whose other ports
    would no longer be reachable by http.
    """
    headers: dict[str, str] = {}
    if "cache-control" not in answered and not is_blob(request.scope["path"]):
        headers["Cache-Control"] = "no-store"
    if is_for_people and _is_secure_name(request, public_url):
        headers["Strict-Transport-Security"] = f"max-age={HSTS_SECONDS}"
    return headers


def _is_secure_name(request: Request, public_url: str | None) -> bool:
    try:
        requested = urlsplit(base_url(request, public_url))
        return requested.scheme == "https" and (requested.hostname or "").rpartition(".")[2] != "localhost"
    except ValueError:
        # The Host header is invalid, half of an IPv6 address say.
        return False


REQUEST_ID = "request_id"
"""Key of the request's id in its scope."""


class RequestIds:
    """Gives each request one id, Lambda's or its own, in all its log lines and, if it is a blob's, in its answer.

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
            if message["type"] == "http.response.start" and is_blob(scope["path"]):
                MutableHeaders(scope=message).update(base_headers(request_id))
            await send(message)

        await self.app(scope, receive, send_with_id)


def _request_id(scope: Scope) -> str:
    """Return Lambda's request id, as Mangum or Lambda Web Adapter hands it on, or a new one."""
    if (lambda_context := scope.get("aws.context")) is not None:
        return str(lambda_context.aws_request_id)
    context = _adapter_context(scope)
    # The runtime sets this variable for handlers that it calls itself. With it, boto3's calls belong to the trace.
    if trace := context.get("xray_trace_id"):
        os.environ["_X_AMZN_TRACE_ID"] = str(trace)
    return str(context.get("request_id") or uuid4().hex)


def _adapter_context(scope: Scope) -> dict[str, Any]:
    """Return the adapter's context. It replaces a header that a client sends; without it, a client could forge one."""
    if "AWS_LWA_PORT" not in os.environ:
        return {}
    sent = next((value for name, value in scope["headers"] if name == b"x-amzn-lambda-context"), b"{}")
    context: dict[str, Any] = json.loads(sent)
    return context
