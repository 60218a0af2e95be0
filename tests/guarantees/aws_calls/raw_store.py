"""Serves streams, which have connections of their own, from moto's bucket, but for requests that meet a fault."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import inf
from typing import Any

import pytest
from botocore.exceptions import ClientError
from yarl import URL

from actions_cache.aws.s3_stream import S3Signer
from tests.guarantees.aws_calls.answers import xml_error_body
from tests.guarantees.aws_calls.kinds import (
    BROKEN_BODIES,
    ERRORS_OF_S3,
    OUTAGE,
    OUTAGES_OF_S3,
    PROXIES,
    REDIRECTS,
    REFUSALS,
    ROUTING,
    SHORT_BODIES,
    SILENT_PROXIES,
    STAYS,
)


@dataclass(frozen=True)
class Exchange:
    handler: BaseHTTPRequestHandler
    work: Callable[[], tuple[int, dict[str, str], bytes]]
    """Lets the store do what the request says, and returns status, headers and body."""

    def say(self, status: int, body: bytes, headers: Mapping[str, str], size: int | None = None) -> None:
        """Answer, and announce this size if it isn't the body's."""
        announced = str(len(body) if size is None else size)
        head = "".join(f"{name}: {value}\r\n" for name, value in {**headers, "Content-Length": announced}.items())
        self.handler.wfile.write(f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode() + body)

    def hang_up(self) -> None:
        self.handler.close_connection = True


@dataclass(frozen=True)
class RawKind:
    name: str
    methods: frozenset[str]
    source: str
    answer: Callable[[Exchange], None]
    outcome: str = OUTAGE

    def __str__(self) -> str:
        return self.name


def _refuses(status: int, code: str, **headers: str) -> Callable[[Exchange], None]:
    return lambda exchange: exchange.say(status, xml_error_body(code), {"Content-Type": "application/xml", **headers})


def _page(status: int, body: bytes) -> Callable[[Exchange], None]:
    return lambda exchange: exchange.say(status, body, {"Content-Type": "text/html"})


def _loses_the_answer(exchange: Exchange) -> None:
    exchange.work()
    exchange.hang_up()


def _cuts(exchange: Exchange) -> None:
    status, headers, body = exchange.work()
    exchange.say(status, body[: len(body) // 2], headers, len(body))
    exchange.hang_up()


def _garbles(exchange: Exchange) -> None:
    exchange.handler.wfile.write(b"\x15\x03\x01 this isn't HTTP\r\n\r\n")
    exchange.hang_up()


BOTH = frozenset({"GET", "PUT"})
GET = frozenset({"GET"})
PUT = frozenset({"PUT"})

_ELSEWHERE = "https://bucket.s3.eu-central-1.amazonaws.com/key"
_MAYBE_MISSING = f"{OUTAGE}, and the log names the missing permission once; {STAYS}"

RAW_KINDS = (
    RawKind("503 SlowDown", BOTH, OUTAGES_OF_S3, _refuses(503, "SlowDown")),
    RawKind("500 InternalError", BOTH, OUTAGES_OF_S3, _refuses(500, "InternalError")),
    RawKind("307 TemporaryRedirect", BOTH, REDIRECTS, _refuses(307, "TemporaryRedirect", Location=_ELSEWHERE)),
    RawKind("301 PermanentRedirect", BOTH, ROUTING, _refuses(301, "PermanentRedirect")),
    RawKind("403 AccessDenied", BOTH, REFUSALS, _refuses(403, "AccessDenied"), _MAYBE_MISSING),
    RawKind("400 ExpiredToken", BOTH, ERRORS_OF_S3, _refuses(400, "ExpiredToken")),
    RawKind("403 RequestTimeTooSkewed", BOTH, ERRORS_OF_S3, _refuses(403, "RequestTimeTooSkewed")),
    RawKind("400 RequestTimeout", BOTH, ERRORS_OF_S3, _refuses(400, "RequestTimeout")),
    RawKind("409 OperationAborted", PUT, ERRORS_OF_S3, _refuses(409, "OperationAborted")),
    RawKind("reset before the answer", BOTH, BROKEN_BODIES, Exchange.hang_up),
    RawKind("a lost answer", PUT, BROKEN_BODIES, _loses_the_answer),
    RawKind("a body that ends early", GET, SHORT_BODIES, _cuts),
    RawKind("what isn't HTTP", BOTH, PROXIES, _garbles),
    RawKind("HTML from a proxy", BOTH, PROXIES, _page(200, b"<html>Welcome</html>")),
    RawKind("nothing from a proxy", BOTH, SILENT_PROXIES, _page(200, b"")),
)


@dataclass
class RawStore:
    s3: Any
    bucket: str
    methods: list[str] = field(default_factory=list)
    met: int = 0
    _fault: tuple[str, RawKind] | None = None
    _left: float = 0

    @contextmanager
    def answering(self, method: str, kind: RawKind, times: float = inf) -> Iterator[None]:
        self._fault, self._left, self.met = (method, kind), times, 0
        try:
            yield
        finally:
            self._fault = None

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        key = handler.path[handler.path.index("archives/") :]
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        self.methods.append(handler.command)
        exchange = Exchange(handler, lambda: self._work(handler, key, body))
        fault = self._fault
        if fault is not None and fault[0] == handler.command and self._left > 0:
            self._left -= 1
            self.met += 1
            fault[1].answer(exchange)
            return
        status, headers, content = exchange.work()
        exchange.say(status, content, headers)

    def _work(self, handler: BaseHTTPRequestHandler, key: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if handler.command == "PUT":
            return 200, {"ETag": self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)["ETag"]}, b""
        wanted = {"Range": handler.headers["Range"]} if "Range" in handler.headers else {}
        try:
            found = self.s3.get_object(Bucket=self.bucket, Key=key, IfMatch=handler.headers["If-Match"], **wanted)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            return (404 if code == "NoSuchKey" else 412), {}, xml_error_body(code)
        return (206 if wanted else 200), {"ETag": found["ETag"]}, found["Body"].read()


@contextmanager
def raw_store(s3: Any, bucket: str) -> Iterator[RawStore]:
    """Serve the requests of streams until the block ends."""
    store = RawStore(s3, bucket)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def answer(self) -> None:
            with suppress(ConnectionError):
                store.handle(self)

        do_GET = do_PUT = answer  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            """Log nothing: pytest's output is for the tests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    signed = S3Signer.signed

    def sign_for_server(*arguments: Any) -> tuple[URL, dict[str, str]]:
        url, headers = signed(*arguments)
        there = URL.build(scheme="http", host="127.0.0.1", port=server.server_port, path=url.raw_path, encoded=True)
        return there, headers

    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(S3Signer, "signed", sign_for_server)
            yield store
    finally:
        server.shutdown()
        server.server_close()
