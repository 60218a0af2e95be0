"""Before the local run's store: counts what functions of ours move by boto3, as the merge worker does.

Told by the User-Agent: the CDN edge, and clients with a presigned URL, have another or none.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import aiohttp
from aiohttp import web

from dev.emulation.proxy import Traffic, answer_of, connections, passed_on, served

BOTO3 = "Boto3/"


class QueryParams(NamedTuple):
    method: str
    path: str
    """As it was sent, with its query."""


@dataclass
class StoreProxy:
    store: str
    by_functions: Traffic = field(default_factory=Traffic)
    by_others: Traffic = field(default_factory=Traffic)
    asked: list[QueryParams] = field(default_factory=list)
    _session: aiohttp.ClientSession = field(init=False)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """`received` is what is written to the store, `sent` what is read from it."""
        self.asked.append(QueryParams(request.method, request.raw_path))
        traffic = self.by_functions if request.headers.get("User-Agent", "").startswith(BOTO3) else self.by_others
        traffic.received += request.content_length or 0

        def count(size: int) -> None:
            traffic.sent += size

        body = request.content if request.body_exists else None
        async with answer_of(self.store, request, body, self._session) as answer:
            return await passed_on(request, answer, count)

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        async with connections() as self._session:
            yield

    @contextmanager
    def served(self) -> Iterator[str]:
        with served(self.handle, self.lifespan()) as url:
            yield url
