"""What the HTTP functions' apps have in common: faults in the client's dialect, and ids on blob replies."""

import logging
import re
from collections.abc import Callable
from typing import Any, Protocol
from uuid import uuid4

from fastapi import Depends, FastAPI, Request, Response
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actions_cache.domain.errors import CacheError
from actions_cache.domain.signed_url import EXPIRES, SIGNATURE, Direction
from actions_cache.ports import Unavailable
from actions_cache.usecases.urls import UrlSigner
from actions_cache.web import artifact_cache, azure, twirp
from actions_cache.web.answer import Answer

logger = logging.getLogger(__name__)

VIEWER_HOST = "x-viewer-host"
"""What the edge adds to a request: the host that its client asked. A function that knew the distribution's domain would
make a cycle of the template's resources. Whoever sends it past the edge only gets URLs that lead elsewhere."""

_HOST = re.compile(r"[A-Za-z0-9.\-\[\]:]+")


class Dialect(Protocol):
    """How a kind of client wants to be told (web/twirp.py, web/azure.py)."""

    @property
    def cache_error(self) -> Callable[[CacheError], Answer]: ...

    @property
    def unavailable(self) -> Callable[[], Answer]: ...

    @property
    def internal_error(self) -> Callable[[], Answer]: ...

    @property
    def no_route(self) -> Callable[[str, str], Answer]: ...


def respond(answer: Answer) -> Response:
    return Response(answer.body, answer.status, dict(answer.headers))


def new_app(dialect: Dialect | None = None, **options: Any) -> FastAPI:
    """An app without routes that answers every fault in one dialect, or in that of the path that was asked for.

    Args: options: FastAPI's own.
    """
    app = FastAPI(**{"openapi_url": None, "redirect_slashes": False, **options})

    def dialect_of(request: Request) -> Dialect:
        return dialect or _dialect(request)

    app.add_middleware(BlobReplyHeaders)

    @app.exception_handler(CacheError)
    async def refused(request: Request, fault: CacheError) -> Response:
        return respond(dialect_of(request).cache_error(fault))

    @app.exception_handler(Unavailable)
    async def unavailable(request: Request, fault: Unavailable) -> Response:
        logger.error("a dependency doesn't answer", extra={"fault": str(fault)})
        return respond(dialect_of(request).unavailable())

    @app.exception_handler(Exception)
    async def failed(request: Request, fault: Exception) -> Response:
        logger.error("unexpected error", exc_info=fault)
        response = respond(dialect_of(request).internal_error())
        # This handler alone answers from outside the app's middleware.
        if _is_blob(request.url.path):
            response.headers.update(azure.base_headers(uuid4().hex))
        return response

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, fault: HTTPException) -> Response:  # noqa: ARG001 - the framework's shape
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


def absolute(url: str, base: str) -> str:
    """@actions/cache follows no relative redirect."""
    return base + url if url.startswith("/") else url


def signed(urls: UrlSigner, direction: Direction) -> Any:
    """A dependency of a route with `{archive}` in its path: the URL's signature must be good (P8)."""

    def check(archive: str, request: Request) -> None:
        query = request.query_params
        urls.check(direction, archive, query.get(EXPIRES, ""), query.get(SIGNATURE, ""))

    return Depends(check)


def _dialect(request: Request) -> Dialect:
    if request.url.path.startswith(f"{artifact_cache.ROOT}/"):
        return artifact_cache
    return azure if _is_blob(request.url.path) else twirp


def _is_blob(path: str) -> bool:
    return path.startswith("/blobs/")


class BlobReplyHeaders:
    """Every blob reply carries an id, errors too: BuildKit panics without one."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _is_blob(scope["path"]):
            await self.app(scope, receive, send)
            return

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(azure.base_headers(uuid4().hex))
            await send(message)

        await self.app(scope, receive, send_with_id)
