"""Serves entries to be read, uploaded to and looked up, and exchanges bytes with that server.

No HTTP library is in between, since it would refuse to send most of these bytes.
"""

import re
import select
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from dev.clients.runtime_token import runtime_token
from dev.clients.wire import Job, V1Job, put_blob, put_block_list
from tests.integration.local_run.local_run import LocalRun


@dataclass(frozen=True)
class Target:
    """Holds a server, and a good URL of each kind."""

    server: str
    token: str
    upload: str
    download: str
    """URL of an archive in parts."""
    object: str
    number: int
    """Number of a v1 upload that is never committed, since its chunks leave a gap."""
    restores: Callable[[], None]
    """Saves and restores as a good client does, and fails if that doesn't work."""


_ERROR = re.compile(r"[\w.]+(Error|FunctionFailed)\b")
"""Matches the last line of a traceback."""

PLAIN = "curl"
"""User agent of an unknown client, whose URLs lead to the server."""


@contextmanager
def running_target(directory: Path) -> Iterator[tuple[Target, LocalRun]]:
    """Run a server whose merges never run, so that archives of several blocks stay in parts."""
    run = LocalRun.start(directory / "data", LOCAL_MERGE_WORKERS="0")
    try:
        run.wait_until_ready()
        job = Job(run.url, runtime_token(), PLAIN)
        job.save("in parts", b"first", b"second")
        job.save("one object", b"all of it")

        def restores() -> None:
            key = uuid.uuid4().hex
            job.save(key, b"before", b"after")
            assert job.restore(key).body == b"beforeafter"
            assert job.restore("one object").body == b"all of it"

        upload = job.reserve("being uploaded")
        assert put_blob(upload, b"a blob").status == 201
        assert put_block_list(job.reserve("another"), []).status == 201
        download, whole = job.download_url("in parts"), job.download_url("one object")
        number = V1Job(run.url, job.token).reserve("being uploaded by v1")
        yield Target(run.url, job.token, upload, download, whole, number, restores), run
    finally:
        run.stop()


def errors_logged(run: LocalRun) -> list[str]:
    """Return the errors that the server logged: none may be, whatever it answered.

    A client that hung up before its request ended doesn't count, though Starlette makes an error of it.
    """
    log = next((run.data / "logs").glob("server*"))
    return [
        line[-600:]
        for line in log.read_text(errors="replace").splitlines()
        if ('"level":"ERROR"' in line or _ERROR.match(line)) and "ClientDisconnect" not in line
    ]


# ------------------------------------------------------------------ bytes

ANSWER_SECONDS = 5
"""Seconds within which a request must be answered, or the connection of what never becomes one be closed."""

CLOSED = 0
"""Stands for the status of a connection closed without one, which HTTP allows for what isn't HTTP."""

UNANSWERED_SECONDS = 0.05
"""Seconds after which the sender ends half a request."""


class Hung(AssertionError):
    """Raised when there is neither an answer nor the connection's end."""


@dataclass(frozen=True)
class Answer:
    status: int
    head: bytes = b""
    body: bytes = b""


def exchange(server: str, sent: bytes, *, is_whole: bool = True, seconds: float = ANSWER_SECONDS) -> Answer:
    """Send bytes, and listen until the answer is complete or the connection closed.

    Args:
        server: URL of the server.
        sent: The bytes.
        is_whole: Whether they are a whole request; otherwise the server may rightly wait for more, and learns soon that
            none will come.
        seconds: The timeout.

    Raises:
        Hung: The server didn't answer in time.
    """
    address = urlsplit(server)
    deadline = time.monotonic() + seconds
    with socket.create_connection((str(address.hostname), int(address.port or 80)), timeout=seconds) as connection:
        try:
            connection.sendall(sent)
            if not is_whole:
                _end_unless_answered(connection)
        except TimeoutError as timeout:
            raise Hung(f"{sent[:300]!r} isn't taken") from timeout
        except OSError:
            pass  # refused halfway; the answer may be there all the same
        return _parse(_receive(connection, deadline, sent))


def _end_unless_answered(connection: socket.socket) -> None:
    readable, _, _ = select.select([connection], [], [], UNANSWERED_SECONDS)
    if not readable:
        connection.shutdown(socket.SHUT_WR)


def _parse(answer: bytes) -> Answer:
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1] if head.startswith(b"HTTP/1.1 ") else b""
    return Answer(int(status) if status.isdigit() else CLOSED, head, body)


def _receive(connection: socket.socket, deadline: float, sent: bytes) -> bytes:
    answer = bytearray()
    while not _is_complete(answer, sent):
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            chunk = connection.recv(65536)
        except TimeoutError as timeout:
            raise Hung(f"{sent[:300]!r} brings {bytes(answer[:300])!r} and no end") from timeout
        except OSError:
            break
        if not chunk:
            break
        answer += chunk
    return bytes(answer)


def _is_complete(answer: bytes | bytearray, sent: bytes) -> bool:
    """Return whether all of the announced length is there; without one, only the connection's end tells."""
    head, blank_line, body = bytes(answer).partition(b"\r\n\r\n")
    if not blank_line:
        return False
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    return sent.startswith(b"HEAD ") or (length is not None and len(body) >= int(length[1]))


def request(
    method: bytes, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes = b"", *, with_length: bool = True
) -> bytes:
    """Return a request with `Connection: close`, and with Content-Length unless its framing is given or unwanted."""
    names = {name.lower() for name, _ in headers}
    rows = [(b"Host", b"127.0.0.1"), (b"Connection", b"close"), *headers]
    if with_length and not names & {b"content-length", b"transfer-encoding"}:
        rows.append((b"Content-Length", b"%d" % len(body)))
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in rows)
    return method + b" " + target + b" HTTP/1.1\r\n" + lines + b"\r\n" + body
