"""Serves a store that fails by script: a proxy in front of the real one.

    faulty = FaultyStore(endpoints)
    faulty.on(reads_of("/parts/"), in_turn(reset_after(MIB), SLOW_DOWN))
    with faulty.served() as url: ...

Each request meets the next fault of the first rule that matches it; when a rule has no more, its requests work.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import repeat

import aiohttp
from aiohttp import web

from dev.emulation.proxy import answer_of, connections, served
from dev.local.emulators import Endpoints
from tests.guarantees.faults.kinds import Exchange, Fault, works

Requests = Callable[[web.Request], bool]


def reads_of(part_of_key: str) -> Requests:
    return lambda request: (
        request.method == "GET" and part_of_key in request.path and not request.query.get("list-type")
    )


def copies(request: web.Request) -> bool:
    return "x-amz-copy-source" in request.headers


def part_uploads(request: web.Request) -> bool:
    return "partNumber" in request.query and not copies(request)


def completions(request: web.Request) -> bool:
    return request.method == "POST" and "uploadId" in request.query


def in_turn(*faults: Fault) -> Iterable[Fault]:
    return faults


def always(fault: Fault) -> Iterable[Fault]:
    return repeat(fault)


@dataclass
class FaultyStore:
    endpoints: Endpoints
    met: int = 0
    """Number of requests that met a fault."""
    _rules: list[tuple[Requests, Iterator[Fault]]] = field(default_factory=list)
    _session: aiohttp.ClientSession = field(init=False)

    def on(self, requests: Requests, faults: Iterable[Fault]) -> None:
        self._rules.append((requests, iter(faults)))

    def heal(self) -> None:
        self._rules.clear()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = request.content if request.body_exists else None
        exchange = Exchange(request, lambda: answer_of(self.endpoints.store, request, body, self._session))
        fault = self._next_fault(request)
        if fault is None:
            return await works(exchange)
        self.met += 1
        return await fault(exchange)

    def _next_fault(self, request: web.Request) -> Fault | None:
        faults = next((faults for requests, faults in self._rules if requests(request)), None)
        return None if faults is None else next(faults, None)

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        async with connections() as self._session:
            yield

    @contextmanager
    def served(self) -> Iterator[str]:
        with served(self.handle, self.lifespan()) as url:
            yield url
