"""Pass every path that isn't this server's on to the real results service (docs/design/protocol.md#results-service)."""

import io
import json
import logging
import re
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote, unquote

import aiohttp
from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from yarl import URL

from actions_cache.aws.s3_stream import in_words
from actions_cache.domain.errors import InvalidRequest, PermissionDenied, Unauthenticated
from actions_cache.http.app import ORIGIN_KEY, VIEWER_HOST
from actions_cache.http.errors import TWIRP, V1_ROOT, respond
from functions.api.dependencies import LAMBDA_BODY_BYTES, Tokens, read_body
from functions.api.hook import ROOT as HOOK_ROOT
from functions.api.tokens import TokenReader

logger = logging.getLogger(__name__)

MAX_LOGGED_PATH = 200
"""Characters of a path that are logged; a client may send 8,192."""

MAX_TEXT_BYTES = 6_000_000
"""Bytes of Lambda's 6 MB that a text may take, which is sent as a JSON string."""

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
"""Methods that API Gateway has routes for. Browsers send OPTIONS, but no client of the results service does."""

router = APIRouter()
"""An app includes it last, since it matches every path."""


async def get_results_service(request: Request) -> "ResultsService | None":
    service: ResultsService | None = request.app.state.results_service
    return service


@router.api_route("/{path:path}", methods=METHODS)
async def forward(
    request: Request,
    tokens: Tokens,
    service: Annotated["ResultsService | None", Depends(get_results_service)],
) -> Response:
    path, query = target_of(request.scope)
    if is_ours(path):
        raise HTTPException(HTTPStatus.NOT_FOUND)
    if service is None:
        message = f"no route for {request.method} {request.url.path}, and no RESULTS_SERVICE_URL to pass it on to"
        return respond(TWIRP.bad_route(message))
    headers = request.headers.raw
    if has_been_here(headers):
        return _bad_gateway("RESULTS_SERVICE_URL leads back to this server; set it to GitHub's results service")
    await run_in_threadpool(check_token, tokens, request.headers.getlist("authorization"))
    body = await read_body(request, LAMBDA_BODY_BYTES)
    try:
        answer = await service.ask(
            request.method, (path, query), request_headers(headers), body, max_answer_bytes=LAMBDA_BODY_BYTES
        )
    except NoAnswer as error:
        # The query isn't logged: URLs carry signatures.
        logger.warning(
            "the results service doesn't answer", extra={"error": str(error), "asked_path": path[:MAX_LOGGED_PATH]}
        )
        return _bad_gateway(f"the results service at {service.url} doesn't answer; this isn't about the cache")
    except AnswerTooLarge:
        return _too_large(service)
    return _passed_on(answer) if _fits(answer.body) else _too_large(service)


def check_token(tokens: TokenReader, authorizations: Sequence[str]) -> None:
    """Check that a job has a verified token of a trusted issuer.

    TOKEN_CLAIMS isn't checked: a job that may not use this cache still keeps its artifacts and its summary, which the
    runner sends to the same address.

    Raises:
        Unauthenticated: there is no job's token (the admin's isn't one), or more than one.
        TryAgain: the issuer's keys can't be fetched now.
    """
    if len(authorizations) > 1:
        raise Unauthenticated("the request has more than one Authorization header; send the job's token alone")
    with suppress(PermissionDenied):
        tokens.read(next(iter(authorizations), None))


def _passed_on(answer: "RawAnswer") -> Response:
    response = Response(answer.body, answer.status)
    response.raw_headers = list(answer_headers(answer.headers))
    has_length = any(name.lower() == b"content-length" for name, _ in answer.headers)
    if answer.body and not has_length:
        # It came in chunks, which end here.
        response.raw_headers.append((b"content-length", str(len(answer.body)).encode()))
    return response


def _fits(body: bytes) -> bool:
    """Return whether Lambda can return the body: text leaves it as a JSON string, whose escapes make it longer."""
    try:
        return len(json.dumps(body.decode(), ensure_ascii=False).encode()) <= MAX_TEXT_BYTES
    except UnicodeDecodeError:
        return True


def _too_large(service: "ResultsService") -> Response:
    return _bad_gateway(f"the answer of {service.url} is over {LAMBDA_BODY_BYTES} bytes, or 6 MB as Lambda counts")


def _bad_gateway(message: str) -> Response:
    return respond(TWIRP.error(HTTPStatus.BAD_GATEWAY, "unavailable", message))


# ---------------------------------------------------------------- paths and headers

RawHeaders = Sequence[tuple[bytes, bytes]]

OUR_SERVICE = "github.actions.results.api.v1.cacheservice"
OUR_PATHS = (
    *("/", "/api", "/blobs", "/health", "/iam", "/manage", "/orgs", "/repos", "/repositories"),
    V1_ROOT,
    HOOK_ROOT,
)
"""Paths of this server, with all paths below them but for the root's. `/api`, `/orgs`, `/repos` and `/repositories` are
GitHub's REST API, as on other hosts: requests there carry a token that manages this server, which nobody else may see.
"""

MAX_ENCODINGS = 3
"""Number of times that a path may be percent-encoded over. No client encodes one twice."""

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Headers of one connection, not of the message (RFC 9110, 7.6.1)."""

_PROXY_HEADERS = frozenset(
    {b"content-length", b"cookie", b"expect", b"forwarded", b"host", b"via", b"x-amz-cf-id"}
    | {VIEWER_HOST.encode(), ORIGIN_KEY.encode()}
)
"""Headers that CloudFront, API Gateway and the connection add; they are set again or meaningless on the next hop. `Via`
and `Forwarded` would reveal this server's internals, and a client's other addresses, to GitHub. No client of the
results service sends a `Cookie`; a browser's would be this server's own session."""

_PROXY_PREFIXES = (b"cloudfront-", b"x-amzn-", b"x-forwarded-")

LOOP_HEADER = b"cdn-loop"
LOOP_MARK = b"serverless-actions-cache"
"""Value of CDN-Loop (RFC 8586) on requests that were passed on. One that comes back, since RESULTS_SERVICE_URL leads
here, would go round until its time is up."""

_UNTOUCHED = "/%:@!$&'()*+,;=~-._"
"""Characters that a path may hold as they are (RFC 3986, 3.3), and the percent sign of what is encoded already."""

_VISIBLE = re.compile("[\x21-\x7e]*")


def target_of(scope: Mapping[str, Any]) -> tuple[str, str]:
    """Return path and query as they were sent.

    API Gateway doesn't say whether it hands over a path decoded, and hands over query values decoded, so characters
    that must be encoded are encoded anew.

    Raises:
        InvalidRequest: the target isn't a path, or has characters that no URL has.
    """
    raw = scope["raw_path"]
    path = raw.decode("latin-1") if raw is not None else quote(scope["aws.event"]["path"], safe=_UNTOUCHED)
    query = scope["query_string"].decode("latin-1")
    if not path.startswith("/") or not _VISIBLE.fullmatch(path) or not _VISIBLE.fullmatch(query):
        raise InvalidRequest("the request's target must be a path and a query, of visible ASCII characters")
    return path, query


def is_ours(path: str) -> bool:
    """Return whether the path is this server's own, or could be read so by a proxy that normalizes it.

    Raises:
        InvalidRequest: it is encoded too often to tell.
    """
    segments = _segments(_decoded(path))
    normal = "/" + "/".join(segments)
    return OUR_SERVICE in segments or any(normal == ours or normal.startswith(f"{ours}/") for ours in OUR_PATHS)


def _decoded(path: str) -> str:
    for _ in range(MAX_ENCODINGS):
        decoded = unquote(path)
        if decoded == path:
            return path
        path = decoded
    if unquote(path) != path:
        raise InvalidRequest(f"the path is percent-encoded more than {MAX_ENCODINGS} times over")
    return path


def _segments(path: str) -> list[str]:
    """Return the path's segments in lower case, without empty ones, dots, and parameters after `;`."""
    segments: list[str] = []
    for segment in re.split(r"[/\\]", path.casefold()):
        name = segment.partition(";")[0]
        if name == "..":
            del segments[-1:]
        elif name not in ("", "."):
            segments.append(name)
    return segments


def end_to_end(headers: RawHeaders) -> RawHeaders:
    """Return the headers of the message itself, without the connection's and those that `Connection` names."""
    named = {
        name.strip() for key, value in headers if key.lower() == b"connection" for name in value.lower().split(b",")
    }
    return [(name, value) for name, value in headers if name.lower() not in _HOP_BY_HOP | named]


def request_headers(headers: RawHeaders) -> RawHeaders:
    """Return the headers that the results service gets: the client's own, Authorization included.

    Raises:
        InvalidRequest: a header can't be sent on, since it isn't UTF-8.
    """
    kept = [
        (name, value)
        for name, value in end_to_end(headers)
        if name.lower() not in _PROXY_HEADERS and not name.lower().startswith(_PROXY_PREFIXES)
    ]
    for name, value in kept:
        try:
            value.decode()
        except UnicodeDecodeError:
            raise InvalidRequest(f"the header {name.decode('latin-1')} isn't UTF-8") from None
    return [*kept, (LOOP_HEADER, LOOP_MARK)]


def has_been_here(headers: RawHeaders) -> bool:
    return any(name.lower() == LOOP_HEADER and LOOP_MARK in value.lower() for name, value in headers)


_ORIGIN_WIDE = frozenset(
    {
        b"alt-svc",
        b"clear-site-data",
        b"content-security-policy",
        b"content-security-policy-report-only",
        b"date",
        b"nel",
        b"refresh",
        b"report-to",
        b"reporting-endpoints",
        b"service-worker-allowed",
        b"set-cookie",
        b"set-cookie2",
        b"strict-transport-security",
        b"x-content-type-options",
    }
)
"""Headers that a browser applies to this server's whole origin, which has the management page; and `Date`, which the
answering server sets itself."""

INERT = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
)
"""Headers that make a browser show another server's answer, if at all, in an origin of its own and without scripts."""


def answer_headers(headers: RawHeaders) -> RawHeaders:
    """Return the headers that the client gets."""
    kept = [(name, value) for name, value in end_to_end(headers) if name.lower() not in _ORIGIN_WIDE]
    return [*kept, *INERT]


# ---------------------------------------------------------------- the client of the results service

CONNECT_SECONDS = 5
TOTAL_SECONDS = 20
"""Timeout of connection, request and answer together. Longer: slower services are waited for. Shorter: more is left of
API Gateway's 29 s, of which a cold start may take some."""

MAX_HEADER_BYTES = 64 * 1024
"""Size of the largest header of an answer; aiohttp's 8 KB are less than some services send."""


class NoAnswer(Exception):
    """Raised when the service is down, slow, or doesn't speak HTTP. It may have done what it was asked."""


class AnswerTooLarge(Exception):
    """Raised when the answer has more bytes than can be passed on."""


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """An answer as it came: nothing is decompressed, no redirect is followed, repeated headers stay repeated."""

    status: int
    headers: RawHeaders
    body: bytes


@dataclass(frozen=True, slots=True)
class ResultsService:
    """The one service that requests are passed on to.

    Args:
        url: `scheme://host` or `scheme://host:port`. No request goes anywhere else.
        trust: authorities whose certificates are accepted; None for the public ones.
    """

    url: str
    trust: ssl.SSLContext | None = None

    async def ask(
        self, method: str, target: tuple[str, str], headers: RawHeaders, body: bytes, max_answer_bytes: int
    ) -> RawAnswer:
        """Send a request once, and return its answer.

        Args:
            method: any.
            target: path and query, of visible ASCII characters, sent unchanged; the path begins with a slash.
            headers: all but Host and Content-Length, in UTF-8.
            body: empty for none.
            max_answer_bytes: size of the largest body that is accepted.

        Raises:
            NoAnswer: the service didn't answer.
            AnswerTooLarge: its body is over the limit; raised as soon as that is known.
        """
        origin, (path, query) = URL(self.url), target
        # Built from its components: in one text, a path could end up as a host.
        url = URL.build(scheme=origin.scheme, authority=origin.authority, path=path, query_string=query, encoded=True)
        sent = [(name.decode("latin-1"), value.decode()) for name, value in headers]
        try:
            async with (
                _new_session() as session,
                session.request(
                    method,
                    url,
                    headers=sent,
                    data=io.BytesIO(body) if body else None,
                    allow_redirects=False,
                    ssl=self.trust or True,
                ) as answer,
            ):
                return RawAnswer(answer.status, answer.raw_headers, await _read(answer, max_answer_bytes))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoAnswer(in_words(error)) from error


async def _read(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > limit:
            raise AnswerTooLarge
    return bytes(body)


def _new_session() -> aiohttp.ClientSession:
    """Return a session for one request.

    A Lambda is frozen between two requests: a kept connection would be dead when the next one is sent on it, and one
    that isn't idempotent can't be sent again. And all jobs would share a session's cookies.
    """
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=TOTAL_SECONDS, sock_connect=CONNECT_SECONDS),
        auto_decompress=False,
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
    )
