"""The CloudFront distribution of template.yaml as an ASGI app, with the API and the bucket as its origins."""

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from http import HTTPStatus
from posixpath import normpath
from typing import Any, Protocol
from urllib.parse import unquote

import aiohttp
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actions_cache.aws.s3_stream import S3Signer, SentBody, new_connections
from actions_cache.http.errors import AZURE, GITHUB_REST, TWIRP, V1, V1_ROOT, Answer
from actions_cache.http.headers import base_headers
from dev.local.edge import runtime as cloudfront
from dev.local.edge.runtime import HIDDEN, EdgeRuntime, FunctionFailed, Headers
from dev.local.template import Template

logger = logging.getLogger(__name__)

DISTRIBUTION = "Edge"
"""Logical id of the distribution in template.yaml."""

API_HOST = b"api.execute-api.local"
"""Host that the API gets to see: not the viewer's, just as behind CloudFront."""

ALWAYS_FORWARDED = frozenset({"host", "content-length", "content-type", "transfer-encoding", "range"})
"""Headers that origins get even if the origin request policy doesn't name them."""

NOT_FORWARDED = frozenset({"host", "transfer-encoding", "date"})
"""Headers that don't go to the bucket, nor come back from it: the connections on both sides have their own."""

MAX_URL_BYTES = 8_192
MAX_HEAD_BYTES = 32_768
"""CloudFront's limit for URL and headers together (its developer guide, "Quotas")."""

MANAGEMENT_PATHS = ("/manage/", "/orgs/", "/repos/", "/repositories/", "/api/v3/")

AZURE_CODES = {
    HTTPStatus.BAD_REQUEST: "InvalidUri",
    HTTPStatus.REQUEST_URI_TOO_LONG: "InvalidUri",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "InvalidHeaderValue",
    HTTPStatus.FORBIDDEN: "UnsupportedHttpVerb",
}


class KeyValueStore(Protocol):
    async def current(self) -> Mapping[str, str]:
        """Return all keys and values."""
        ...


@dataclass(frozen=True)
class Edge:
    """Serves requests as CloudFront does: picks a behavior, runs the functions, and forwards to an origin."""

    distribution: "Distribution"
    runtime: EdgeRuntime
    key_value_store: KeyValueStore
    bucket: "BucketOrigin"
    api: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        request_id = cloudfront.new_request_id()
        refused = _refusal_of_head(scope)
        if refused is not None:
            await _refuse(scope, send, request_id, *refused)
            return
        behavior = self.distribution.behavior(scope["raw_path"].decode("latin-1"))
        if scope["method"] not in behavior.methods:
            await _refuse(scope, send, request_id, HTTPStatus.FORBIDDEN, "this method isn't allowed here")
            return
        event = cloudfront.viewer_request(scope, request_id)
        try:
            self.runtime.fill_key_value_store(await self.key_value_store.current())
            result = await self.runtime.run("viewer-request", event)
        except FunctionFailed as failure:
            logger.exception("viewer-request failed")
            await _refuse(scope, send, request_id, failure.status, str(failure))
            return
        if "response" in result:
            await _send_whole(send, result["response"])
            return
        exchange = _Exchange(self, behavior, event, result["request"])
        if (result.get("origin") or behavior.origin) == "bucket":
            await exchange.with_bucket(scope, receive, send)
        else:
            await exchange.with_api(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await self.runtime.close()
        await self.bucket.close()
        await send({"type": "lifespan.shutdown.complete"})


@dataclass(frozen=True)
class _Exchange:
    """Takes one request to an origin, and the response back.

    Args:
        edge: Distribution that serves the request.
        behavior: Behavior of the request's path.
        event: Event of the viewer-request function.
        request: Request as that function returned it.
    """

    edge: Edge
    behavior: "Behavior"
    event: Mapping[str, Any]
    request: Mapping[str, Any]

    async def with_api(self, scope: Scope, receive: Receive, send: Send) -> None:
        uri: str = self.request["uri"]
        await self.edge.api(
            {
                **scope,
                "path": unquote(uri),
                "raw_path": uri.encode("latin-1"),
                "query_string": cloudfront.query_string(self.request["querystring"]),
                "headers": self._headers_for_api(),
            },
            receive,
            self._answering(send),
        )

    async def with_bucket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward every header the function left, even those the policy would drop: it mustn't rely on the policy."""
        started = False
        headers = cloudfront.headers_list(self.request["headers"])
        try:
            body = Request(scope, receive).stream()
            async with self.edge.bucket.answer(scope["method"], self.request["uri"], headers, body) as answer:
                start = {"type": "http.response.start", "status": answer.status, "headers": _headers_of(answer)}
                answering = self._answering(send)
                await answering(start)
                started = True
                async for chunk in answer.content.iter_any():
                    await answering({"type": "http.response.body", "body": chunk, "more_body": True})
                await answering({"type": "http.response.body", "body": b"", "more_body": False})
        except ClientDisconnect:
            return
        except BucketUnreachable as error:
            if started:
                raise  # the connection breaks, since nothing else can say that bytes are missing
            # CloudFront would answer 502 with HTML. This is a 503 because @actions/cache retries a block on no other.
            logger.warning("the bucket doesn't answer: %s", error)
            await _refuse(scope, send, self.event["context"]["requestId"], 503, "the bucket doesn't answer; try again")

    def _headers_for_api(self) -> Headers:
        allowed = self.behavior.forwarded_headers
        headers = [
            (name, value)
            for name, value in cloudfront.headers_list(self.request["headers"])
            if name != b"host" and (allowed is None or name.decode("latin-1") in allowed | ALWAYS_FORWARDED)
        ]
        return [(b"host", API_HOST), *headers]

    def _answering(self, send: Send) -> Send:
        """Return a `send` that passes the response's head through the headers policy and the function first."""

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = await self._seen_by_viewer_response(message)
            await send(message)

        return answer

    async def _seen_by_viewer_response(self, start: Message) -> Message:
        headers: Headers = list(start["headers"])
        names = {name for name, _ in headers}
        headers += [
            (name.encode(), value.encode())
            for name, value in self.behavior.added_headers.items()
            if name.encode() not in names
        ]
        if start["status"] >= HTTPStatus.BAD_REQUEST or "viewer-response" not in self.behavior.events:
            return {**start, "headers": headers}
        event = cloudfront.viewer_response(self.event, self.request, start["status"], headers)
        response = (await self.edge.runtime.run("viewer-response", event))["response"]
        return {**start, "status": response["statusCode"], "headers": cloudfront.headers_list(response["headers"])}


# ------------------------------------------------------------------ what the template declares


@dataclass(frozen=True)
class Behavior:
    """Says how requests to some paths are treated.

    Args:
        path_pattern: Pattern of the paths, with `*` for anything.
        origin: Origin of the requests unless a function selects another one.
        methods: Methods that are allowed.
        events: Events at which a function runs: viewer-request, viewer-response.
        forwarded_headers: Headers that the origin gets; None for all.
        added_headers: Headers added to responses that have none of that name.
    """

    path_pattern: str
    origin: str
    methods: frozenset[str]
    events: frozenset[str]
    forwarded_headers: frozenset[str] | None
    added_headers: Mapping[str, str]


@dataclass(frozen=True)
class Distribution:
    """Lists the behaviors in the order in which they are tried; the last one matches everything."""

    behaviors: tuple[Behavior, ...]

    @classmethod
    def of(cls, template: Template) -> "Distribution":
        config = template.properties(DISTRIBUTION)["DistributionConfig"]
        default = {"PathPattern": "*", **config["DefaultCacheBehavior"]}
        return cls(tuple(_behavior(template, declared) for declared in (*config["CacheBehaviors"], default)))

    def behavior(self, path: str) -> Behavior:
        """Match the normalized path, as CloudFront does, though functions and origins get the path as it was sent."""
        normalized = normpath(path) if path.startswith("/") else path
        return next(behavior for behavior in self.behaviors if fnmatchcase(normalized, behavior.path_pattern))


def _behavior(template: Template, declared: Mapping[str, Any]) -> Behavior:
    return Behavior(
        path_pattern=declared["PathPattern"],
        origin=declared["TargetOriginId"],
        methods=frozenset(declared["AllowedMethods"]),
        events=frozenset(function["EventType"] for function in declared.get("FunctionAssociations", ())),
        forwarded_headers=_forwarded_headers(template, declared["OriginRequestPolicyId"]),
        added_headers=_added_headers(template, declared.get("ResponseHeadersPolicyId")),
    )


def _forwarded_headers(template: Template, policy: Mapping[str, Any]) -> frozenset[str] | None:
    match policy:
        case {"Ref": str(name)}:
            return frozenset(template.properties(name)["OriginRequestPolicyConfig"]["HeadersConfig"]["Headers"])
        case {"Fn::FindInMap": ["CloudFront", "ManagedPolicy", "AllViewerExceptHostHeader"]}:
            return None
    raise ValueError(f"an unknown origin request policy: {policy}")


def _added_headers(template: Template, policy: Mapping[str, Any] | None) -> dict[str, str]:
    if policy is None:
        return {}
    config = template.properties(policy["Ref"])["ResponseHeadersPolicyConfig"]
    security = config["SecurityHeadersConfig"]
    return {
        **{header["Header"]: header["Value"] for header in config["CustomHeadersConfig"]["Items"]},
        "x-content-type-options": "nosniff",
        "content-security-policy": security["ContentSecurityPolicy"]["ContentSecurityPolicy"],
    }


# ------------------------------------------------------------------ the bucket as an origin


class BucketUnreachable(Exception):
    """Raised when the connection to the bucket fails, before or during a response."""


class BucketOrigin:
    """Signs what the functions left of a request, as Origin Access Control does, and sends it to the bucket."""

    def __init__(self, signer: S3Signer) -> None:
        self._signer = signer
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def answer(
        self, method: str, uri: str, headers: Headers, body: AsyncIterator[bytes]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yield the response, with its body not read yet.

        Raises:
            BucketUnreachable: The connection failed.
            Exception: The body raised it.
        """
        named = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in headers
            if name.decode("latin-1") not in NOT_FORWARDED
        }
        url, signed = self._signer.signed(method, uri.removeprefix("/"), named)
        sent = SentBody(body)
        try:
            data = sent.chunks() if method == "PUT" else None
            async with self._connections().request(
                method, url, headers=signed, data=data, allow_redirects=False
            ) as answer:
                yield answer
        except (aiohttp.ClientError, OSError) as error:
            if sent.error is not None:
                raise sent.error from None
            raise BucketUnreachable(repr(error)) from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _connections(self) -> aiohttp.ClientSession:
        """Return the session, made by the first request: it belongs to the event loop that runs it."""
        if self._session is None:
            # CloudFront has no such limit: clients that stall would keep the others waiting.
            self._session = new_connections(limit=0)
        return self._session


def _headers_of(answer: aiohttp.ClientResponse) -> Headers:
    return [
        (name.lower(), value)
        for name, value in answer.raw_headers
        if name.decode("latin-1").lower() not in HIDDEN | NOT_FORWARDED
    ]


# ------------------------------------------------------------------ the distribution's own responses


def _refusal_of_head(scope: Scope) -> tuple[int, str] | None:
    """Return the status and message with which CloudFront refuses a request before any function sees it, or None."""
    if not scope["raw_path"].startswith(b"/"):
        return HTTPStatus.BAD_REQUEST, "the request's target must be a path"
    if scope["method"] in ("GET", "HEAD") and _has_body(scope):
        return HTTPStatus.FORBIDDEN, f"a {scope['method']} has no body"
    url_bytes = len(scope["raw_path"]) + len(scope["query_string"])
    if url_bytes > MAX_URL_BYTES:
        return HTTPStatus.REQUEST_URI_TOO_LONG, f"the URL has {url_bytes} bytes; at most {MAX_URL_BYTES} are allowed"
    head_bytes = url_bytes + sum(len(name) + len(value) + len(": \r\n") for name, value in scope["headers"])
    if head_bytes > MAX_HEAD_BYTES:
        message = f"URL and headers have {head_bytes} bytes; at most {MAX_HEAD_BYTES} are allowed"
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, message
    return None


def _has_body(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"


async def _refuse(scope: Scope, send: Send, request_id: str, status: int, message: str) -> None:
    """Refuse a request; 5xx tells clients to retry."""
    is_busy = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    twirp_code, azure_code, v1_code = (
        ("unavailable", "ServerBusy", "Unavailable")
        if is_busy
        else ("invalid_argument", AZURE_CODES[HTTPStatus(status)], "InvalidRequest")
    )
    await send_answer(send, in_dialect(scope["path"], status, message, twirp_code, azure_code, v1_code, request_id))


def in_dialect(
    path: str, status: int, message: str, twirp_code: str, azure_code: str, v1_code: str, request_id: str
) -> Answer:
    """Return an error as the path's clients read it; CloudFront's own would be HTML."""
    if path.startswith("/blobs/"):
        answer = AZURE.error(status, azure_code, message)
        return Answer(status, answer.body, {**answer.headers, **base_headers(request_id)})
    if path.startswith(MANAGEMENT_PATHS):
        return GITHUB_REST.error(status, twirp_code, message)
    if path.startswith(f"{V1_ROOT}/"):
        return V1.error(status, v1_code, message)
    return TWIRP.error(status, twirp_code, message)


async def send_answer(send: Send, answer: Answer) -> None:
    """Send an answer of this process's own."""
    headers = {**answer.headers, "Content-Length": str(len(answer.body))}
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": int(answer.status), "headers": raw})
    await send({"type": "http.response.body", "body": answer.body})


async def _send_whole(send: Send, response: Mapping[str, Any]) -> None:
    """Send a response that a function generated."""
    data = response.get("body") or ""
    body = (data if isinstance(data, str) else data["data"]).encode()
    headers = [*cloudfront.headers_list(response.get("headers", {})), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": response["statusCode"], "headers": headers})
    await send({"type": "http.response.body", "body": body})
