"""The distribution as an ASGI app, in front of the API's."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import unquote

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actions_cache.http import azure
from dev.local.edge import event as cloudfront
from dev.local.edge.distribution import Behavior, Distribution
from dev.local.edge.event import Headers
from dev.local.edge.origin_bucket import BucketOrigin, BucketUnreachable, answer_headers
from dev.local.edge.refusals import refusal
from dev.local.edge.runtime import EdgeRuntime, FunctionFailed

logger = logging.getLogger(__name__)

API_HOST = b"api.execute-api.local"
"""What the API sees as its host: not the viewer's, as behind the real edge."""

ALWAYS_FORWARDED = frozenset({"host", "content-length", "content-type", "transfer-encoding", "range"})
"""What no origin request policy needs to name."""


class KeyValueStore(Protocol):
    async def current(self) -> Mapping[str, str]:
        """All its keys and values."""
        ...


MAX_URL_BYTES = 8_192
MAX_HEAD_BYTES = 32_768
"""CloudFront's: URL and headers together (its developer guide, "Quotas")."""


@dataclass(frozen=True)
class Edge:
    distribution: Distribution
    runtime: EdgeRuntime
    key_value_store: KeyValueStore
    bucket: BucketOrigin
    api: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        request_id = cloudfront.new_request_id()
        refusal = _refusal_of_head(scope)
        if refusal is not None:
            await _refuse(scope, send, request_id, *refusal)
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
    """One request on its way to an origin, and the answer on its way back."""

    edge: Edge
    behavior: Behavior
    event: Mapping[str, Any]
    request: Mapping[str, Any]
    """As the viewer-request function left it."""

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
        """All that the function left goes there, whatever the policy would still drop: the function must do without."""
        started = False
        headers = cloudfront.headers_list(self.request["headers"])
        try:
            body = Request(scope, receive).stream()
            async with self.edge.bucket.answer(scope["method"], self.request["uri"], headers, body) as answer:
                start = {"type": "http.response.start", "status": answer.status, "headers": answer_headers(answer)}
                answering = self._answering(send)
                await answering(start)
                started = True
                async for chunk in answer.content.iter_any():
                    await answering({"type": "http.response.body", "body": chunk, "more_body": True})
                await answering({"type": "http.response.body", "body": b"", "more_body": False})
        except ClientDisconnect:
            return
        except BucketUnreachable as fault:
            if started:
                raise  # the connection breaks, since nothing else can say that bytes are missing
            # CloudFront itself would say 502 in HTML. 503, since @actions/cache sends a block again on no other.
            logger.warning("the bucket doesn't answer: %s", fault)
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
        """Sends an answer on, once the policy and the viewer-response function have seen its head."""

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


def _refusal_of_head(scope: Scope) -> tuple[int, str] | None:
    """What CloudFront refuses before any function sees it."""
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
    answer = refusal(scope["path"], status, message)
    of_blobs = azure.base_headers(request_id) if scope["path"].startswith("/blobs/") else {}
    headers = {**answer.headers, **of_blobs, "content-length": str(len(answer.body))}
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": answer.body})


async def _send_whole(send: Send, response: Mapping[str, Any]) -> None:
    """An answer that a function made by itself."""
    data = response.get("body") or ""
    body = (data if isinstance(data, str) else data["data"]).encode()
    headers = [*cloudfront.headers_list(response.get("headers", {})), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": response["statusCode"], "headers": headers})
    await send({"type": "http.response.body", "body": body})
