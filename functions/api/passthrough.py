"""Pass every path that isn't ours on to the real results service (docs/design/protocol.md#results-service)."""

import io
import json
import logging
import re
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote

import aiohttp
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from yarl import URL

from actions_cache.aws.s3_stream import in_words
from actions_cache.domain.errors import InvalidRequest, PermissionDenied, Unauthenticated
from actions_cache.http import twirp
from actions_cache.http.app import ORIGIN_KEY, VIEWER_HOST, respond
from actions_cache.http.artifact_cache import ROOT as ARTIFACT_CACHE
from functions.api.hook import ROOT as HOOK
from functions.api.tokens import TokenReader
from functions.api.uploads import LAMBDA_BODY_BYTES, read_body

logger = logging.getLogger(__name__)


RawHeaders = Sequence[tuple[bytes, bytes]]

CONNECT_SECONDS = 5
TOTAL_SECONDS = 20
"""Connection, request and answer together. API Gateway gives up at 29 s, and a cold start may come before."""

MAX_HEADER_BYTES = 64 * 1024
"""Of one header of the answer's; aiohttp's 8 KB are less than some services send."""


class NoAnswer(Exception):
    """The service is down, slow, or said what isn't HTTP. Whether it did what it was asked is unknown."""


class AnswerTooLarge(Exception):
    """The answer has more bytes than can be passed on."""


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """As it came: nothing decompressed, no redirect followed, repeated headers repeated."""

    status: int
    headers: RawHeaders
    body: bytes


@dataclass(frozen=True, slots=True)
class ResultsService:
    """The one service that requests are passed on to.

    Args:
        url: `scheme://host` or `scheme://host:port`. No request goes anywhere else.
        trust: whose certificates are good; None: public authorities'.
    """

    url: str
    trust: ssl.SSLContext | None = None

    async def ask(
        self, method: str, target: tuple[str, str], headers: RawHeaders, body: bytes, max_answer_bytes: int
    ) -> RawAnswer:
        """One request, sent once.

        Args:
            method: any.
            target: path and query, of visible ASCII characters, and sent so; the path begins with a slash.
            headers: all but Host and Content-Length, in UTF-8.
            body: empty for none.
            max_answer_bytes: of the answer's body.

        Raises:
            NoAnswer: see there.
            AnswerTooLarge: as soon as it is known.
        """
        origin, (path, query) = URL(self.url), target
        # Built from its pieces: as one text, a path could end up as a host.
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
    """One for each request.

    A Lambda is frozen between two: a kept connection would be dead when the next one is sent on it, and what isn't
    idempotent can't be sent again. And a session's cookies would be every job's.
    """
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=TOTAL_SECONDS, sock_connect=CONNECT_SECONDS),
        auto_decompress=False,
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
    )


OUR_SERVICE = "github.actions.results.api.v1.cacheservice"
OUR_PATHS = (
    *("/", "/api", "/blobs", "/health", "/iam", "/manage", "/repos", "/repositories"),
    ARTIFACT_CACHE,
    HOOK,
)
"""With all below them, but for the root. `/api`, `/repos` and `/repositories` are GitHub's REST API, as it looks on
other hosts. Whoever asks there shows a token of those who manage this server, which is for nobody else."""

MAX_ENCODINGS = 3
"""How often a path may be percent-encoded over and over. No client encodes one twice."""

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
"""Of one connection, not of the message (RFC 9110, 7.6.1)."""

_OF_THE_WAY_HERE = frozenset(
    {b"content-length", b"cookie", b"expect", b"forwarded", b"host", b"via", b"x-amz-cf-id"}
    | {VIEWER_HOST.encode(), ORIGIN_KEY.encode()}
)
"""Headers that CloudFront, API Gateway and the connection add; they are set again or meaningless on the next hop. `Via`
and `Forwarded` would reveal this server's internals, and a client's other addresses, to GitHub. No client of the
results service sends a `Cookie`; a browser's would be this server's own session."""

_PREFIXES_OF_THE_WAY_HERE = (b"cloudfront-", b"x-amzn-", b"x-forwarded-")

LOOP_HEADER = b"cdn-loop"
LOOP_MARK = b"serverless-actions-cache"
"""RFC 8586. A request that comes back, since RESULTS_SERVICE_URL leads here, would go round until its time is up."""

_UNTOUCHED = "/%:@!$&'()*+,;=~-._"
"""What a path may hold as it is (RFC 3986, 3.3), and the sign of what is encoded already."""

_VISIBLE = re.compile("[\x21-\x7e]*")


def target_of(scope: Mapping[str, Any]) -> tuple[str, str]:
    """Path and query, as they were sent.

    API Gateway doesn't say whether it hands over a path decoded, and hands over query values decoded: what must be
    encoded is encoded anew.

    Raises: InvalidRequest: it isn't a path, or has characters that no URL has.
    """
    raw = scope["raw_path"]
    path = raw.decode("latin-1") if raw is not None else quote(scope["aws.event"]["path"], safe=_UNTOUCHED)
    query = scope["query_string"].decode("latin-1")
    if not path.startswith("/") or not _VISIBLE.fullmatch(path) or not _VISIBLE.fullmatch(query):
        raise InvalidRequest("the request's target must be a path and a query, of visible ASCII characters")
    return path, query


def is_ours(path: str) -> bool:
    """Return whether the path is this server's own, or could be read so by whoever normalizes it.

    Raises: InvalidRequest: it is encoded so often that nobody can say.
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
    """Without empty ones and dots, in lower case; a parameter after `;` is none of the name."""
    segments: list[str] = []
    for segment in re.split(r"[/\\]", path.casefold()):
        name = segment.partition(";")[0]
        if name == "..":
            del segments[-1:]
        elif name not in ("", "."):
            segments.append(name)
    return segments


def end_to_end(headers: RawHeaders) -> RawHeaders:
    """Those of the message itself: without the connection's, and those that it names."""
    named = {
        name.strip() for key, value in headers if key.lower() == b"connection" for name in value.lower().split(b",")
    }
    return [(name, value) for name, value in headers if name.lower() not in _HOP_BY_HOP | named]


def request_headers(headers: RawHeaders) -> RawHeaders:
    """What the results service gets: the client's own headers, Authorization included.

    Raises: InvalidRequest: one isn't UTF-8, as which they are sent on.
    """
    kept = [
        (name, value)
        for name, value in end_to_end(headers)
        if name.lower() not in _OF_THE_WAY_HERE and not name.lower().startswith(_PREFIXES_OF_THE_WAY_HERE)
    ]
    for name, value in kept:
        try:
            value.decode()
        except UnicodeDecodeError:
            raise InvalidRequest(f"the header {name.decode('latin-1')} isn't UTF-8") from None
    return [*kept, (LOOP_HEADER, LOOP_MARK)]


def has_been_here(headers: RawHeaders) -> bool:
    return any(name.lower() == LOOP_HEADER and LOOP_MARK in value.lower() for name, value in headers)


_OF_ANOTHER_ORIGIN = frozenset(
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
    kept = [(name, value) for name, value in end_to_end(headers) if name.lower() not in _OF_ANOTHER_ORIGIN]
    return [*kept, *INERT]


MAX_LOGGED_PATH = 200
"""Characters of a path that are logged; a client may send 8,192."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
"""Methods that API Gateway has routes for. Browsers send OPTIONS, but no client of the results service does."""

MAX_TEXT_BYTES = 6_000_000
"""What of Lambda's 6 MB a text may take that goes as a JSON string."""


def routes(service: ResultsService | None, tokens: TokenReader) -> APIRouter:
    """Return the last routes of an app: they match everything.

    Args:
        service: the service that requests go to; None passes nothing on.
        tokens: decides which tokens are passed on.
    """
    router = APIRouter()

    async def forward(request: Request) -> Response:
        path, query = target_of(request.scope)
        if is_ours(path):
            raise HTTPException(HTTPStatus.NOT_FOUND)
        if service is None:
            message = f"no route for {request.method} {request.url.path}, and no RESULTS_SERVICE_URL to pass it on to"
            return respond(twirp.bad_route(message))
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
            # Not the query: URLs carry signatures.
            logger.warning(
                "the results service doesn't answer", extra={"error": str(error), "asked_path": path[:MAX_LOGGED_PATH]}
            )
            return _bad_gateway(f"the results service at {service.url} doesn't answer; this isn't about the cache")
        except AnswerTooLarge:
            return _too_large(service)
        return _passed_on(answer) if _fits(answer.body) else _too_large(service)

    router.add_route("/{path:path}", forward, methods=METHODS)
    return router


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


def _passed_on(answer: RawAnswer) -> Response:
    response = Response(answer.body, answer.status)
    response.raw_headers = list(answer_headers(answer.headers))
    has_length = any(name.lower() == b"content-length" for name, _ in answer.headers)
    if answer.body and not has_length:
        # It came in chunks, which end here.
        response.raw_headers.append((b"content-length", str(len(answer.body)).encode()))
    return response


def _fits(body: bytes) -> bool:
    """Text leaves a Lambda as a JSON string, whose escapes may make it much longer."""
    try:
        return len(json.dumps(body.decode(), ensure_ascii=False).encode()) <= MAX_TEXT_BYTES
    except UnicodeDecodeError:
        return True


def _too_large(service: ResultsService) -> Response:
    return _bad_gateway(f"the answer of {service.url} is over {LAMBDA_BODY_BYTES} bytes, or 6 MB as Lambda counts")


def _bad_gateway(message: str) -> Response:
    return respond(twirp.error(HTTPStatus.BAD_GATEWAY, "unavailable", message))
