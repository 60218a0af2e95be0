"""A proxy before the store that delays each request, and may cap each connection; it moves bytes as cheaply as it can.

Both sides of a comparison go through it. A second one, which copies, is the least that a server between reader and
store can be: what it loses, no such server can win.
"""

import argparse
import fcntl
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

PIPE_BYTES = 1024 * 1024
"""Largest pipe of an unprivileged process (/proc/sys/fs/pipe-max-size)."""

COPY_BYTES = 512 * 1024
"""Size of a read, as of our own server (actions_cache/aws/s3_stream.py)."""

BACKLOG = 512

PACED_BYTES = 128 * 1024
"""Bytes between two looks at a connection's pace. Fewer: more work for the proxy; more: bursts."""

Carry = Callable[[socket.socket, socket.socket, Callable[[int], None]], None]
"""Moves bytes from a source to a sink until the source ends, and calls the third argument before each send, with the
number of bytes."""


@contextmanager
def latency_proxy(
    port: int, milliseconds: float, *, copies: bool = False, bytes_per_second: float | None = None
) -> Iterator[str]:
    """Run the proxy as a process until the block ends.

    Args:
        port: of the store.
        milliseconds: delay of each request.
        copies: whether each byte is copied into the process.
        bytes_per_second: most that one connection carries each way, as S3's do; None for no cap.

    Yields:
        The URL that leads through it.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        command = ["--listener", listener.fileno(), "--upstream", port, "--milliseconds", milliseconds]
        command += ["--copies"] if copies else []
        command += ["--bytes-per-second", bytes_per_second] if bytes_per_second else []
        with subprocess.Popen(
            [sys.executable, "-m", "dev.bench.latency_proxy", *map(str, command)], pass_fds=[listener.fileno()]
        ) as process:
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                process.kill()


class Pace:
    """Holds back what comes faster than so many bytes a second; None holds nothing back."""

    def __init__(self, bytes_per_second: float | None) -> None:
        self._rate = bytes_per_second
        self._due = 0.0

    def hold(self, size: int) -> None:
        if self._rate is None:
            return
        now = time.monotonic()
        if self._due > now:
            time.sleep(self._due - now)
        self._due = max(self._due, now) + size / self._rate


class Exchange:
    """A client's connection, and the one to the store that answers it."""

    def __init__(
        self, client: socket.socket, upstream: tuple[str, int], delay: float, pace: float | None, carry: Carry
    ) -> None:
        self._client = client
        self._store = socket.create_connection(upstream)
        self._delay = delay
        self._sent, self._received = Pace(pace), Pace(pace)
        self._carry = carry
        self._answered = True
        for connection in (self._client, self._store):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self) -> None:
        answers = threading.Thread(target=self._pass, args=(self._store, self._client, self._note_answer), daemon=True)
        answers.start()
        self._pass(self._client, self._store, self._hold_request)
        answers.join()
        self._client.close()
        self._store.close()

    def _hold_request(self, size: int) -> None:
        """Delay the first bytes that a client sends after an answer: a new request, since no client here pipelines."""
        if self._answered:
            self._answered = False
            time.sleep(self._delay)
        self._sent.hold(size)

    def _note_answer(self, size: int) -> None:
        self._answered = True
        self._received.hold(size)

    def _pass(self, source: socket.socket, sink: socket.socket, before_sending: Callable[[int], None]) -> None:
        try:
            self._carry(source, sink, before_sending)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            # One side broke off, which is all that the other one can be told.
            for connection in (source, sink):
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


def splice(
    source: socket.socket, sink: socket.socket, before_sending: Callable[[int], None], piece: int = PIPE_BYTES
) -> None:
    """Carry by the system call of this name: nothing is copied into this process."""
    out, into = os.pipe()
    fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    try:
        while (size := os.splice(source.fileno(), into, piece)) > 0:
            before_sending(size)
            while size > 0:
                size -= os.splice(out, sink.fileno(), size)
    finally:
        os.close(out)
        os.close(into)


def copy(source: socket.socket, sink: socket.socket, before_sending: Callable[[int], None]) -> None:
    buffer = memoryview(bytearray(COPY_BYTES))
    while size := source.recv_into(buffer):
        before_sending(size)
        sink.sendall(buffer[:size])


def main() -> None:
    parser = argparse.ArgumentParser(prog="dev.bench.latency_proxy")
    parser.add_argument("--listener", type=int, required=True, help="file descriptor of a bound socket")
    parser.add_argument("--upstream", type=int, required=True, help="port of the store on loopback")
    parser.add_argument("--milliseconds", type=float, required=True, help="added to each request")
    parser.add_argument("--bytes-per-second", type=float, help="most that one connection brings")
    parser.add_argument("--copies", action="store_true")
    options = parser.parse_args()
    listener = socket.socket(fileno=options.listener)
    listener.listen(BACKLOG)
    pace = options.bytes_per_second
    carry: Carry = copy if options.copies else partial(splice, piece=PACED_BYTES) if pace else splice
    while True:
        client, _ = listener.accept()
        arguments = (client, ("127.0.0.1", options.upstream), options.milliseconds / 1000, pace, carry)
        threading.Thread(target=lambda *them: Exchange(*them).run(), args=arguments, daemon=True).start()


if __name__ == "__main__":
    main()
