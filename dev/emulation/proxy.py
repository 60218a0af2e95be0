"""What the servers of these tests have in common: each passes requests on, and counts or holds up what they carry."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass

import aiohttp
from aiohttp import web
from yarl import URL

HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Traffic:
    """Bytes of bodies."""

    received: int = 0
    sent: int = 0

    @property
    def total(self) -> int:
        return self.received + self.sent


def end_to_end(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in HOP_BY_HOP}


def connections(connector: aiohttp.TCPConnector | None = None) -> aiohttp.ClientSession:
    """They add nothing to what is passed on, and give up on nothing. Made in the loop that uses them."""
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
    """Of the server behind, to the same request. It is told the host that was asked."""
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
    """Nothing tells a client that bytes are missing, but a connection that ends without them."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()


@contextmanager
def served(handler: Handler, lifespan: AbstractAsyncContextManager[object]) -> Iterator[str]:
    """On a port, in a thread and a loop of its own, until the block ends. Gives the base URL.

    Args:
        handler: of every request.
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
