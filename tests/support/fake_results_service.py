"""A results service that records each request byte for byte, and gives the answer that a test sets."""

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dev.clients.local_server import running_server

HOST = "127.0.0.1"
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
    b"Set-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\nX-GitHub-Request-Id: 1\r\n\r\n{}"
)
TIMEOUT_SECONDS = 30
DRIP_SECONDS = 0.2


class RecordedRequest(NamedTuple):
    line: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key.lower() == name]


@dataclass
class FakeResultsService:
    """Serves on a port until the listener is closed.

    Args:
        listener: the bound socket.
        answer: bytes sent before the connection is closed; None to send none and leave it open.
        drips: whether a byte follows every now and then, and the connection stays open.
    """

    listener: socket.socket
    answer: bytes | None = ANSWER
    drips: bool = False
    asked: list[RecordedRequest] = field(default_factory=list)
    connections: list[socket.socket] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.listener.getsockname()[1]}"

    def as_new(self) -> "FakeResultsService":
        self.answer, self.drips = ANSWER, False
        self.asked.clear()
        return self

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._serve_one, args=(connection,), daemon=True).start()

    def _serve_one(self, connection: socket.socket) -> None:
        connection.settimeout(TIMEOUT_SECONDS)
        head, body = b"", b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65536)
        head, _, body = head.partition(b"\r\n\r\n")
        line, *rows = head.split(b"\r\n")
        headers = [(name, value.strip()) for name, _, value in (row.partition(b":") for row in rows)]
        length = int(next((value for name, value in headers if name.lower() == b"content-length"), b"0"))
        while len(body) < length:
            body += connection.recv(65536)
        self.asked.append(RecordedRequest(line, headers, body))
        if self.answer is not None:
            connection.sendall(self.answer)
        with suppress(OSError):
            while self.drips:
                time.sleep(DRIP_SECONDS)
                connection.sendall(b"x")
        if self.answer is not None:
            connection.close()


@contextmanager
def running_results_service(port: int = 0) -> Iterator[FakeResultsService]:
    with socket.create_server((HOST, port), reuse_port=True) as listener:
        fake_service = FakeResultsService(listener)
        threading.Thread(target=fake_service.serve, daemon=True).start()
        try:
            yield fake_service
        finally:
            # accept() itself isn't woken by close().
            listener.shutdown(socket.SHUT_RDWR)
            for connection in fake_service.connections:
                connection.close()


@contextmanager
def server_with_results_service(directory: Path, settings: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """Start a local run that forwards what isn't the cache's, and yield its URL and the results service's port.

    Nobody listens on the port until a test does; it is only kept from others.
    """
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        kept.bind((HOST, 0))
        port: int = kept.getsockname()[1]
        with running_server(directory, {**settings, "RESULTS_SERVICE_URL": f"http://{HOST}:{port}/"}) as url:
            yield url, port
