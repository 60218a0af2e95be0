"""Stands between a process and its emulators: counts its calls, and at a chosen one kills it, or loses the answer.

A call is named by its operation and its number among the calls of that operation, so that it stays the same one when
other calls come in another order.
"""

import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import parse_qs, urlsplit

import aiohttp
from aiohttp import web

from dev.emulation.proxy import answer_of, broken, connections, passed_on, served

READS = frozenset(
    {
        *("BatchGetItem", "DescribeKeyValueStore", "GetItem", "GetKey", "GetObject", "GetQueueAttributes"),
        *("GetSecretValue", "HeadBucket", "HeadObject", "ListObjectsV2", "Query"),
    }
)
"""Operations that change nothing, so that a crash after one is a crash before the next call."""


class Fault(StrEnum):
    CRASH_BEFORE = "crash before"
    """The call never reaches the emulator."""
    CRASH_AFTER = "crash after"
    """The call takes effect, and nobody is left to see its answer."""
    ANSWER_LOST = "lost answer of"
    """The call takes effect, the connection breaks, and the process goes on: it asks again, or gives up."""


@dataclass(frozen=True)
class Call:
    operation: str
    number: int
    """Number, from 1, among the calls of this operation."""

    def __str__(self) -> str:
        return f"{self.operation} {self.number}"


@dataclass(frozen=True)
class Point:
    fault: Fault
    call: Call

    def __str__(self) -> str:
        return f"{self.fault} {self.call}"


def points(calls: list[Call]) -> list[Point]:
    """Return every point of a scenario that made these calls."""
    return [
        Point(fault, call)
        for call in calls
        for fault in Fault
        if fault is Fault.CRASH_BEFORE or call.operation not in READS
    ]


@dataclass
class Gate:
    kill: Callable[[], None] = lambda: None
    """Sends SIGKILL to the process, and waits until it is gone."""
    point: Point | None = None
    calls: list[Call] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    struck: threading.Event = field(default_factory=threading.Event)
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def count_from_now(self, point: Point | None) -> None:
        self.calls.clear()
        self.counts.clear()
        self.point = point

    def fault(self, operation: str) -> Fault | None:
        """Count a call, and return the fault that it meets."""
        with self._one_at_a_time:
            self.counts[operation] += 1
            call = Call(operation, self.counts[operation])
            self.calls.append(call)
        return self.point.fault if self.point and self.point.call == call else None


@contextmanager
def gated(emulators: Mapping[str, str], gate: Gate) -> Iterator[dict[str, str]]:
    """Serve proxies of these emulators, and yield their URLs by the same variables."""
    with ExitStack() as stack:
        yield {variable: stack.enter_context(_proxy(url, gate)) for variable, url in emulators.items()}


@contextmanager
def _proxy(emulator: str, gate: Gate) -> Iterator[str]:
    sessions: list[aiohttp.ClientSession] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with connections() as session:
            sessions.append(session)
            yield

    async def handle(request: web.Request) -> web.StreamResponse:
        body = await request.content.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        fault = gate.fault(operation(request.method, request.raw_path, headers))
        if fault is not Fault.CRASH_BEFORE:
            async with answer_of(emulator, request, body or None, sessions[0]) as answer:
                if fault is None:
                    return await passed_on(request, answer)
                await answer.read()
        if fault is not Fault.ANSWER_LOST:
            gate.kill()
        gate.struck.set()
        return broken(request)

    with served(handle, lifespan()) as url:
        # The host stays: CloudFront's KeyValueStore is asked under a name below it (dev/local/emulators.py).
        yield url.replace("127.0.0.1", str(urlsplit(emulator).hostname))


def operation(method: str, path: str, headers: Mapping[str, str]) -> str:
    """Return the API's name of a call.

    Args:
        method: The HTTP method.
        path: The path with its query.
        headers: The headers, with names in lower case.
    """
    target = headers.get("x-amz-target", "").rpartition(".")[2]
    if target:
        return target
    parts = urlsplit(path)
    if parts.path.startswith("/key-value-stores/"):
        return {"PUT": "PutKey", "GET": "GetKey" if "/keys/" in parts.path else "DescribeKeyValueStore"}[method]
    query = parse_qs(parts.query, keep_blank_values=True)
    if "partNumber" in query:
        return "UploadPartCopy" if "x-amz-copy-source" in headers else "UploadPart"
    for parameter, name in S3_OPERATIONS.items():
        if parameter in query:
            return name[method]
    has_key = bool(parts.path.strip("/").partition("/")[2])
    return f"{method.capitalize()}{'Object' if has_key else 'Bucket'}"


S3_OPERATIONS: Mapping[str, Mapping[str, str]] = {
    "uploads": {"POST": "CreateMultipartUpload"},
    "uploadId": {"POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload"},
    "delete": {"POST": "DeleteObjects"},
    "list-type": {"GET": "ListObjectsV2"},
}
"""Operations by the parameter that selects them, and by method."""
