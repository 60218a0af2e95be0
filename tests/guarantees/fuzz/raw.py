"""Bytes to the server, and what it makes of them; no HTTP library in between that would refuse to send them."""

import re
import select
import socket
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

ANSWER_SECONDS = 5
"""In which every request must be answered once it is sent; what never becomes one, its connection closed."""

CLOSED = 0
"""In place of a status: the connection was closed without one, as HTTP allows for what isn't HTTP."""


UNANSWERED_SECONDS = 0.05
"""After which half a request is ended by its sender."""


class Hung(AssertionError):
    """Neither an answer nor the connection's end."""


@dataclass(frozen=True)
class Heard:
    status: int
    head: bytes = b""
    body: bytes = b""


def exchange(server: str, sent: bytes, *, is_whole: bool = True, seconds: float = ANSWER_SECONDS) -> Heard:
    """Sends it, and listens until the answer is complete or the connection closed.

    Args:
        is_whole: otherwise the server may rightly wait for more, so it is told soon that none will come.

    Raises: Hung.
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
            pass  # refused in the middle; the answer may be there all the same
        return _heard(_answer(connection, deadline, sent))


def _end_unless_answered(connection: socket.socket) -> None:
    readable, _, _ = select.select([connection], [], [], UNANSWERED_SECONDS)
    if not readable:
        connection.shutdown(socket.SHUT_WR)


def _heard(answer: bytes) -> Heard:
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1] if head.startswith(b"HTTP/1.1 ") else b""
    return Heard(int(status) if status.isdigit() else CLOSED, head, body)


def _answer(connection: socket.socket, deadline: float, sent: bytes) -> bytes:
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
    """By its length; without one, only the connection's end tells."""
    head, blank_line, body = bytes(answer).partition(b"\r\n\r\n")
    if not blank_line:
        return False
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    return sent.startswith(b"HEAD ") or (length is not None and len(body) >= int(length[1]))


def request(
    method: bytes, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes = b"", *, with_length: bool = True
) -> bytes:
    """With `Connection: close`, and a Content-Length unless the headers have one or it is to have none."""
    names = {name.lower() for name, _ in headers}
    rows = [(b"Host", b"127.0.0.1"), (b"Connection", b"close"), *headers]
    if with_length and not names & {b"content-length", b"transfer-encoding"}:
        rows.append((b"Content-Length", b"%d" % len(body)))
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in rows)
    return method + b" " + target + b" HTTP/1.1\r\n" + lines + b"\r\n" + body
