"""The load generator: bare sockets, so that what is measured is the other side. One process for each reader or writer.

`python -m dev.bench.load_generator get URL` prints one line of JSON; so does `many`, which reads its work from standard
input.
"""

import argparse
import json
import os
import socket
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

BUFFER_BYTES = 1024 * 1024
HEAD_BYTES = 64 * 1024
TIMEOUT_SECONDS = 600


class LoadFailed(Exception):
    """The other side answered otherwise than a measurement needs."""


@dataclass(frozen=True)
class Transfer:
    size: int
    first_byte: float
    """Seconds from the request until the first byte of the body."""
    seconds: float


@dataclass
class Connection:
    """One HTTP/1.1 connection, with as little between the caller and the socket as can be."""

    host: str
    port: int

    def __post_init__(self) -> None:
        self._socket = socket.create_connection((self.host, self.port), TIMEOUT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(BUFFER_BYTES)

    def send(self, method: str, target: str, headers: dict[str, str], body: memoryview | None = None) -> None:
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self.host}:{self.port}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        if body is not None:
            self._socket.sendall(body)

    def head(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers by lower-case name, and what of the body came with them."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self._socket.recv(HEAD_BYTES)
            if not piece:
                raise LoadFailed("the connection ended before an answer")
            data += piece
        head, _, rest = data.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return int(status.split(" ")[1]), {name.lower(): value.strip() for name, _, value in pairs}, rest

    def body(self, size: int, rest: bytes) -> float:
        """Reads `size` bytes. Returns: when the first one was there."""
        got, view = len(rest), memoryview(self._buffer)
        first_at = time.perf_counter() if rest else 0.0
        while got < size:
            count = self._socket.recv_into(view)
            if not count:
                raise LoadFailed(f"the connection ended after {got} of {size} bytes")
            first_at = first_at or time.perf_counter()
            got += count
        return first_at

    def close(self) -> None:
        self._socket.close()


def get(url: str, pause: float = 0) -> Transfer:
    """Args: pause: seconds between the first bytes and the rest, as of a reader who is busy.

    Raises: LoadFailed unless the answer is 200 or 206 with a Content-Length.
    """
    parts = urlsplit(url)
    began = time.perf_counter()
    connection = Connection(parts.hostname or "", parts.port or 80)
    try:
        connection.send("GET", f"{parts.path}?{parts.query}", {})
        status, answered, rest = connection.head()
        if status not in (200, 206):
            raise LoadFailed(f"GET {parts.path}: {status} {rest[:300]!r}")
        size = int(answered["content-length"])
        time.sleep(pause)
        first_at = connection.body(size, rest)
        return Transfer(size, first_at - began, time.perf_counter() - began)
    finally:
        connection.close()


def exchange_all(exchanges: Sequence[tuple[str, str, int]], at_once: int) -> float:
    """GETs, and PUTs of so many bytes, over `at_once` connections that are kept. Returns: seconds.

    Args: exchanges: method, URL, and bytes sent.
    """
    largest = max(size for _, _, size in exchanges)
    data = memoryview(os.urandom(largest))  # what can be compressed might be
    waiting = list(reversed(exchanges))

    def work() -> None:
        connection: Connection | None = None
        while True:
            try:
                method, url, size = waiting.pop()
            except IndexError:
                break
            parts = urlsplit(url)
            connection = connection or Connection(parts.hostname or "", parts.port or 80)
            headers = {"Content-Length": str(size), "x-ms-blob-type": "BlockBlob"} if method == "PUT" else {}
            connection.send(method, f"{parts.path}?{parts.query}", headers, data[:size])
            status, answered, rest = connection.head()
            if status not in (200, 201):
                raise LoadFailed(f"{method} {parts.path}: {status} {rest[:300]!r}")
            connection.body(int(answered.get("content-length", 0)), rest)
        if connection is not None:
            connection.close()

    began = time.perf_counter()
    with ThreadPoolExecutor(at_once) as workers:
        for done in [workers.submit(work) for _ in range(at_once)]:
            done.result()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(prog="dev.bench.load_generator")
    subparsers = parser.add_subparsers(dest="command", required=True)
    getting = subparsers.add_parser("get")
    getting.add_argument("url")
    getting.add_argument("--pause", type=float, default=0)
    many = subparsers.add_parser("many", help="JSON on standard input: [[method, URL, bytes sent], ...]")
    many.add_argument("--at-once", type=int, default=8)
    options = parser.parse_args()
    if options.command == "get":
        print(json.dumps(asdict(get(options.url, options.pause))))
    else:
        print(json.dumps(exchange_all([(*it,) for it in json.load(sys.stdin)], options.at_once)))


if __name__ == "__main__":
    main()
