"""Parts of HTTP proxies that pass requests on, and count or hold up the bytes; and one before an emulator of AWS."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import aiohttp
from aiohttp import web
from yarl import URL

HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Traffic:
    """Bytes of bodies that a server received and sent."""

    received: int = 0
    sent: int = 0

    @property
    def total(self) -> int:
        return self.received + self.sent


def end_to_end(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in HOP_BY_HOP}


def connections(connector: aiohttp.TCPConnector | None = None) -> aiohttp.ClientSession:
    """Return a client that adds no headers and has no timeout. It must be made in the loop that uses it."""
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None),
        auto_decompress=False,
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
    )


@asynccontextmanager
async def answer_of(
    upstream: str, request: web.Request, body: aiohttp.StreamReader | bytes | None, session: aiohttp.ClientSession
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Send the request on to the upstream server, with its Host header unchanged."""
    url = URL(upstream + request.raw_path, encoded=True)
    async with session.request(
        request.method, url, headers=end_to_end(request.headers), data=body, allow_redirects=False
    ) as answer:
        yield answer


async def passed_on(
    request: web.Request, answer: aiohttp.ClientResponse, count: Callable[[int], None] = lambda _: None
) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=end_to_end(answer.headers))
    await response.prepare(request)
    try:
        async for chunk in answer.content.iter_any():
            count(len(chunk))
            await response.write(chunk)
    except aiohttp.ClientError:
        return broken(request)
    return response


def broken(request: web.Request) -> web.StreamResponse:
    """Close the client's connection, the only way to tell it that bytes are missing."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()


@contextmanager
def served(handler: Handler, lifespan: AbstractAsyncContextManager[object]) -> Iterator[str]:
    """Serve in a thread with a loop of its own until the block ends, and yield the base URL.

    Args:
        handler: handles every request.
        lifespan: entered before the first request and left after the last, in that loop.
    """
    ready, ended = threading.Event(), threading.Event()
    urls: list[str] = []

    async def serve() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        async with lifespan:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            urls.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
            ready.set()
            await asyncio.to_thread(ended.wait)
            await runner.cleanup()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield urls[0]
    finally:
        ended.set()
        thread.join()


BOTO3 = "Boto3/"
"""Beginning of the User-Agent of functions; the CDN edge, and clients with a presigned URL, have another or none."""


class StoreRequest(NamedTuple):
    method: str
    path: str
    """Path as it was sent, with its query."""


@dataclass
class StoreProxy:
    """Stands before an emulator, and counts what the functions move through boto3, as the merge worker does."""

    store: str
    by_functions: Traffic = field(default_factory=Traffic)
    by_others: Traffic = field(default_factory=Traffic)
    requests: list[StoreRequest] = field(default_factory=list)
    _session: aiohttp.ClientSession = field(init=False)

    @contextmanager
    def served(self) -> Iterator[str]:
        """Serve until the block ends, and yield the URL."""
        with served(self._handle, self._lifespan()) as url:
            yield url

    @asynccontextmanager
    async def _lifespan(self) -> AsyncIterator[None]:
        async with connections() as self._session:
            yield

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(StoreRequest(request.method, request.raw_path))
        traffic = self.by_functions if request.headers.get("User-Agent", "").startswith(BOTO3) else self.by_others
        traffic.received += request.content_length or 0

        def count(size: int) -> None:
            traffic.sent += size

        body = request.content if request.body_exists else None
        async with answer_of(self.store, request, body, self._session) as answer:
            return await passed_on(request, answer, count)
