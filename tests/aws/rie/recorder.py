"""What a function asks of AWS, whichever library asks: a proxy between it and an engine."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

HOP_BY_HOP = frozenset({"connection", "expect", "keep-alive", "transfer-encoding"})


@dataclass(frozen=True)
class Call:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """With their names in lower case."""
    body: bytes
    status: int

    @property
    def target(self) -> str | None:
        """The operation's name, where the service's protocol is JSON; S3's isn't."""
        return self.headers.get("x-amz-target", "").rpartition(".")[2] or None

    @property
    def request(self) -> Any:
        return json.loads(self.body)


@contextmanager
def recording(engine: str, calls: list[Call]) -> Iterator[str]:
    """Passes everything on unchanged, Host included: it is signed. Gives the proxy's URL.

    Args:
        engine: its URL.
        calls: gets each call once it was answered.
    """
    address = urlsplit(engine).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            connection = HTTPConnection(address, timeout=60)
            try:
                connection.request(self.command, self.path, body or None, headers)
                answer = connection.getresponse()
                answered = answer.read()
            finally:
                connection.close()
            parts = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
            lowered = {name.lower(): value for name, value in headers.items()}
            calls.append(Call(self.command, parts.path, query, lowered, body, answer.status))
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in HOP_BY_HOP | {"content-length"}:
                    self.send_header(name, value)
            length = answer.headers["Content-Length"] if self.command == "HEAD" else str(len(answered))
            self.send_header("Content-Length", length or "0")
            self.end_headers()
            self.wfile.write(answered)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on  # noqa: N815 - http.server's names

        def log_message(self, *_: Any) -> None:
            """Says nothing: pytest's output is for the tests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
