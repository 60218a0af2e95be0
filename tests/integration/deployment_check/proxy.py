"""A proxy that spoils some answers of a real server, as a bad deployment would."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TIMEOUT_SECONDS = 60
HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive"}


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def comp(self) -> str:
        return parse_qs(urlsplit(self.path).query).get("comp", [""])[0]

    @property
    def puts_block(self) -> bool:
        return self.method == "PUT" and self.comp == "block"

    @property
    def is_download(self) -> bool:
        return urlsplit(self.path).path.startswith(("/blobs/download/", "/blobs/object/"))


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    is_chunked: bool = False
    """True if it is sent without a Content-Length and ends as if it were whole."""
    cut_at: int | None = None
    """Byte at which the connection breaks."""

    def but(self, **changes: Any) -> "Answer":
        return replace(self, **changes)

    def without(self, name: str) -> "Answer":
        return replace(self, headers={key: value for key, value in self.headers.items() if key.lower() != name.lower()})


Spoil = Callable[[Request, Callable[[], Answer]], Answer]
"""A function of the request, and of a function that asks the real server, that returns the client's answer."""


@contextmanager
def spoiling_proxy(server: str, spoil: Spoil) -> Iterator[str]:
    """Run a proxy and yield its URL; the server behind it makes its URLs of the proxy's host."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = Request(self.command, self.path, dict(self.headers.items()), body)
            self.write(spoil(request, lambda: ask(server, request)))

        do_GET = do_PUT = do_POST = do_HEAD = answer  # noqa: N815

        def write(self, answer: Answer) -> None:
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in HOP_BY_HOP and not (answer.is_chunked and name.lower() == "content-length"):
                    self.send_header(name, value)
            if answer.is_chunked:
                # The end of the connection is the end of the body, as in HTTP/1.0.
                self.send_header("Connection", "close")
                self.close_connection = True
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body if answer.cut_at is None else answer.body[: answer.cut_at])
            if answer.cut_at is not None:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        listener.daemon_threads = True
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.server_port}"
        finally:
            listener.shutdown()
            thread.join()


def ask(server: str, request: Request) -> Answer:
    connection = HTTPConnection(urlsplit(server).netloc, timeout=TIMEOUT_SECONDS)
    try:
        connection.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
        for name, value in request.headers.items():
            connection.putheader(name, value)
        with suppress(BrokenPipeError):
            connection.endheaders(request.body or None)
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.headers.items()), answer.read())
    finally:
        connection.close()


def whole(server: str, request: Request) -> Answer:
    """Return a download as if no range was asked for; If-Match keeps the server from redirecting to S3."""
    kept = {name: value for name, value in request.headers.items() if name.lower() not in ("range", "x-ms-range")}
    return ask(server, replace(request, headers={**kept, "If-Match": "*"}))


def made(status: int, body: str, **headers: str) -> Answer:
    """Return a made-up answer. Header names have _ for -."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"Content-Length": str(len(body.encode())), **named}, body.encode())
