"""A cache server that keeps entries in memory, and fails as a test says."""

import json
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

STATUS = "/runner/status"
CREATE, FINALIZE, LOOK_UP = "CreateCacheEntry", "FinalizeCacheEntryUpload", "GetCacheEntryDownloadURL"
HELD_SECONDS = 120
"""How long a connection without an answer is held, unless the server ends before."""


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: list[tuple[str, str]]
    size: int
    """Bytes of the body."""
    connection: int
    """Number that requests on one connection share."""

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]

    @property
    def call(self) -> str:
        """Return the name by which tests call it: of the twirp method, or method and path."""
        return re.sub(r"^POST /twirp/.*/|(?<=/blobs)/.*$|\?.*$", "", f"{self.method} {self.path}")


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b"{}"
    media_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


Fault = Answer | str
"""An answer, or how there is none: `silent`, `reset`, or `slow` (after 2.5 s the usual one)."""

HTML = Answer(200, b"<html>", "text/html")


@dataclass
class FakeCacheServer:
    url: str
    asked: list[Asked] = field(default_factory=list)
    faults: dict[str, Fault] = field(default_factory=dict)
    """Faults by call; `*` is each call without one of its own."""
    fault_of: Callable[[Asked], Fault | None] = lambda _: None
    """Asked where `faults` says nothing."""
    read_body: Callable[[Any, int], bytes] = lambda stream, size: stream.read(size)
    archives: dict[str, bytes] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def calls(self) -> list[str]:
        return [asked.call for asked in self.asked]

    def fault(self, asked: Asked) -> Fault | None:
        default = None if asked.path == STATUS else self.faults.get("*")
        return self.faults.get(asked.call) or self.fault_of(asked) or default

    def answer(self, asked: Asked, body: bytes) -> Answer:
        blob = f"{self.url}/blobs/a/b"
        if asked.call in (CREATE, FINALIZE, LOOK_UP):
            told = json.loads(body)
            found = asked.call != LOOK_UP or told["key"] in self.archives
            if asked.call == CREATE:
                self.archives[told["key"]] = b""
            said = {
                "ok": found,
                "signed_upload_url": f"{blob}?key={told['key']}",
                "signed_download_url": f"{blob}?key={told['key']}",
                "matched_key": told["key"],
                "entry_id": "1",
            }
            return Answer(body=json.dumps(said).encode())
        if asked.path.startswith("/blobs/"):
            key = asked.path.partition("key=")[2].partition("&")[0]
            if asked.method == "PUT":
                if "comp=" not in asked.path:
                    self.archives[key] = body
                return Answer(201, b"", headers={"x-ms-request-id": "1", "ETag": '"1"', "Last-Modified": DATE})
            archive = self.archives.get(key)
            return Answer(404) if archive is None else Answer(200, archive, "application/octet-stream")
        if asked.path.startswith("/_apis/artifactcache/"):
            return Answer(204, b"") if asked.method == "GET" else Answer(body=b'{"cacheId": 1}')
        return Answer(404 if asked.path == STATUS else 200)


DATE = "Tue, 01 Dec 2026 00:00:00 GMT"


@contextmanager
def fake_cache_server(context: ssl.SSLContext | None = None) -> Iterator[FakeCacheServer]:
    """Serve on a port of 127.0.0.1, by https if there is a context."""
    connections = iter(range(10**9))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            self.number = next(connections)

        def log_message(self, *_: object) -> None:
            pass

        def do(self) -> None:
            length = self.headers.get("Content-Length")
            asked = Asked(self.command, self.path, self.headers.items(), int(length or 0), self.number)
            fake.asked.append(asked)
            fault = fake.fault(asked)
            if fault == "silent":
                fake.over.wait(HELD_SECONDS)
                raise ConnectionError
            if fault == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                raise ConnectionError
            if fault == "slow":
                time.sleep(2.5)
            body = fake.read_body(self.rfile, asked.size) if length else self.read_chunks()
            answer = fault if isinstance(fault, Answer) else fake.answer(asked, body)
            self.send_response(answer.status)
            for name, value in {"Content-Type": answer.media_type, **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do  # noqa: N815 - their names are http.server's

        def read_chunks(self) -> bytes:
            body = b""
            if self.headers.get("Transfer-Encoding") == "chunked":
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            return body

        def handle(self) -> None:
            with suppress(OSError):
                super().handle()

        def finish(self) -> None:
            with suppress(OSError):
                super().finish()

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

        def server_bind(self) -> None:
            # So that what a client has sent is soon what the server has read.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            super().server_bind()

        def handle_error(self, *_: object) -> None:
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        fake = FakeCacheServer(f"http{'s' if context else ''}://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield fake
        finally:
            fake.over.set()
            server.shutdown()
            thread.join()
