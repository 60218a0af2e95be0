"""The load generator: bare sockets, so that the other side is what is measured. Each reader or writer is a process."""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

BUFFER_BYTES = 1024 * 1024
HEAD_BYTES = 64 * 1024
TIMEOUT_SECONDS = 600


@dataclass(frozen=True)
class Transfer:
    size: int
    first_byte: float
    """Seconds from the request until the first byte of the body."""
    seconds: float


def get_all(urls: Sequence[str], pause: float = 0) -> list[Transfer]:
    """GET all URLs at once, each in a process of its own.

    Args:
        urls: what to read.
        pause: seconds between the first bytes and the rest, as of a reader who is busy.
    """
    processes = [_start("get", url, "--pause", str(pause)) for url in urls]
    return [Transfer(**json.loads(_output(process))) for process in processes]


def put_all(targets: Sequence[tuple[str, int]], at_once: int) -> float:
    """PUT so many random bytes to each URL, and return the seconds."""
    return exchange_all([("PUT", url, size) for url, size in targets], at_once)


def exchange_all(exchanges: Sequence[tuple[str, str, int]], at_once: int) -> float:
    """Send requests over `at_once` connections that are kept, in a process, and return the seconds.

    Args:
        exchanges: method, URL, and number of bytes sent.
        at_once: number of connections.
    """
    return float(_output(_start("many", "--at-once", str(at_once)), json.dumps(exchanges)))


def _start(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "dev.bench.load_generator", *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _output(process: "subprocess.Popen[str]", standard_input: str = "") -> str:
    output, _ = process.communicate(standard_input)
    if process.returncode:
        raise RuntimeError(f"the load generator failed: {process.args!r}")
    return output


# ---------------------------------------------------------------- in the process


class LoadFailed(Exception):
    """Raised when the other side's answer is none that can be measured."""


class Connection:
    """One HTTP/1.1 connection, with as little between the caller and the socket as can be."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._socket = socket.create_connection((self._host, self._port), TIMEOUT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = memoryview(bytearray(BUFFER_BYTES))

    def ask(self, method: str, url: str, body: memoryview | None = None) -> tuple[int, bytes]:
        """Return the size of the answer's body, and what of it came with the head.

        Raises:
            LoadFailed: the answer has another status than 200, 201 or 206.
        """
        parts = urlsplit(url)
        headers = f"Content-Length: {len(body)}\r\nx-ms-blob-type: BlockBlob\r\n" if body is not None else ""
        head = f"{method} {parts.path}?{parts.query} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n{headers}\r\n"
        self._socket.sendall(head.encode())
        if body is not None:
            self._socket.sendall(body)
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self._socket.recv(HEAD_BYTES)
            if not piece:
                raise LoadFailed("the connection ended before an answer")
            data += piece
        answer, _, rest = data.partition(b"\r\n\r\n")
        status, *lines = answer.decode("latin-1").split("\r\n")
        if int(status.split(" ")[1]) not in (200, 201, 206):
            raise LoadFailed(f"{method} {parts.path}: {status} {rest[:300]!r}")
        answered = {name.lower(): value for name, _, value in (line.partition(":") for line in lines)}
        return int(answered.get("content-length", 0)), rest

    def read(self, size: int, rest: bytes) -> float:
        """Read a body of `size` bytes to its end, and return when the first one was there."""
        got, first_at = len(rest), time.perf_counter() if rest else 0.0
        while got < size:
            count = self._socket.recv_into(self._buffer)
            if not count:
                raise LoadFailed(f"the connection ended after {got} of {size} bytes")
            first_at = first_at or time.perf_counter()
            got += count
        return first_at

    def close(self) -> None:
        self._socket.close()


def _get(url: str, pause: float) -> Transfer:
    began = time.perf_counter()
    connection = Connection(url)
    size, rest = connection.ask("GET", url)
    time.sleep(pause)
    first_at = connection.read(size, rest)
    connection.close()
    return Transfer(size, first_at - began, time.perf_counter() - began)


def _exchange_all(exchanges: Sequence[tuple[str, str, int]], at_once: int) -> float:
    data = memoryview(os.urandom(max(size for _, _, size in exchanges)))  # what can be compressed might be
    waiting = list(reversed(exchanges))

    def work() -> None:
        connection: Connection | None = None
        while waiting:
            try:
                method, url, size = waiting.pop()
            except IndexError:  # another thread was faster
                break
            connection = connection or Connection(url)
            connection.read(*connection.ask(method, url, data[:size] if method == "PUT" else None))
        if connection is not None:
            connection.close()

    began = time.perf_counter()
    with ThreadPoolExecutor(at_once) as executor:
        for done in [executor.submit(work) for _ in range(at_once)]:
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
        print(json.dumps(asdict(_get(options.url, options.pause))))
    else:
        print(json.dumps(_exchange_all(json.load(sys.stdin), options.at_once)))


if __name__ == "__main__":
    main()
