"""Between one process and its engines: counts its calls, and at a chosen one kills it, or loses the answer.

A call is named by its operation and how often that was called before, so that a point stays the same one when other
calls come in another order.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

HOP_BY_HOP = frozenset({"connection", "expect", "keep-alive", "transfer-encoding"})

READS = frozenset(
    {
        "BatchGetItem",
        "DescribeKeyValueStore",
        "GetItem",
        "GetKey",
        "GetObject",
        "GetQueueAttributes",
        "GetSecretValue",
        "HeadBucket",
        "HeadObject",
        "ListObjectsV2",
        "Query",
    }
)
"""They change nothing: to die after one is to die before the next call."""


class Fault(StrEnum):
    DIES_BEFORE = "dies before"
    """The call never reaches the engine."""
    DIES_AFTER = "dies after"
    """It took effect, and nobody is left to see its answer."""
    ANSWER_LOST = "loses the answer of"
    """It took effect, the connection breaks, and the process goes on: it asks again, or gives up."""


@dataclass(frozen=True)
class Call:
    operation: str
    number: int
    """From 1, among the calls of this operation."""

    def __str__(self) -> str:
        return f"{self.operation} {self.number}"


@dataclass(frozen=True)
class Point:
    fault: Fault
    call: Call

    def __str__(self) -> str:
        return f"{self.fault} {self.call}"


def points(calls: list[Call]) -> list[Point]:
    """Every point of a scenario that made these calls."""
    return [
        Point(fault, call)
        for call in calls
        for fault in Fault
        if fault is Fault.DIES_BEFORE or call.operation not in READS
    ]


@dataclass
class Gate:
    """Args: kill: SIGKILLs the process, and waits until it is gone."""

    kill: Callable[[], None] = lambda: None
    point: Point | None = None
    calls: list[Call] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    struck: threading.Event = field(default_factory=threading.Event)
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def count_from_now(self, point: Point | None) -> None:
        self.calls.clear()
        self.counts.clear()
        self.point = point

    def pass_on(self, operation: str, ask: Callable[[], "Answer"]) -> "Answer | None":
        """The engine's answer, or None where the process isn't to get one."""
        fault = self._fault(operation)
        if fault is None:
            return ask()
        if fault is Fault.DIES_BEFORE:
            self.kill()
        else:
            ask()
            if fault is Fault.DIES_AFTER:
                self.kill()
        self.struck.set()
        return None

    def _fault(self, operation: str) -> Fault | None:
        with self._one_at_a_time:
            self.counts[operation] += 1
            call = Call(operation, self.counts[operation])
            self.calls.append(call)
        return self.point.fault if self.point and self.point.call == call else None


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


@contextmanager
def gated(engines: Mapping[str, str], gate: Gate) -> Iterator[dict[str, str]]:
    """Args: engines: their URLs, by the variables that name them. Gives: the gate's, likewise."""
    with ExitStack() as stack:
        yield {variable: stack.enter_context(_proxy(engine, gate)) for variable, engine in engines.items()}


@contextmanager
def _proxy(engine: str, gate: Gate) -> Iterator[str]:
    """Host stays as it is: it is signed."""
    parts = urlsplit(engine)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            lowered = {name.lower(): value for name, value in headers.items()}
            answer = gate.pass_on(
                operation(self.command, self.path, lowered), lambda: _ask(self.command, self.path, body, headers)
            )
            if answer is None:
                self.close_connection = True
                return
            self.send_response_only(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            """Says nothing: pytest's output is for the tests."""

    def _ask(method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        connection = HTTPConnection(parts.netloc, timeout=60)
        try:
            connection.request(method, path, body or None, headers)
            return _read(method, connection.getresponse())
        finally:
            connection.close()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        # The host stays: CloudFront's KeyValueStore is asked under a name below it (dev/local/emulators.py).
        yield f"http://{parts.hostname}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def _read(method: str, answer: HTTPResponse) -> Answer:
    body = answer.read()
    headers = [it for it in answer.headers.items() if it[0].lower() not in HOP_BY_HOP | {"content-length"}]
    length = answer.headers["Content-Length"] if method == "HEAD" else str(len(body))
    return Answer(answer.status, [*headers, ("Content-Length", length or "0")], body)


def operation(method: str, path: str, headers: Mapping[str, str]) -> str:
    """The API's name of a call. Args: headers: their names in lower case."""
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
"""By the parameter that makes the operation another one."""
