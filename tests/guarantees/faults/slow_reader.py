"""Reads slowly: the server can't send what the client doesn't take."""

import socket
import time
from collections.abc import Mapping
from http.client import HTTPConnection
from urllib.parse import urlsplit

RECEIVE_BUFFER_BYTES = 64 * 1024
PIECE_BYTES = 64 * 1024
TIMEOUT_SECONDS = 60


class Refused(Exception):
    """Raised with the answer's status and body."""


def read_at(url: str, bytes_per_second: float, headers: Mapping[str, str] | None = None) -> bytes:
    """Read at this rate, following redirects.

    Raises:
        HTTPException: The connection broke.
        OSError: The connection broke.
        Refused: The answer is neither content nor a redirect.
    """
    while True:
        parts = urlsplit(url)
        connection = HTTPConnection(parts.netloc)
        connection.sock = _connected(parts.hostname, parts.port)
        try:
            connection.request("GET", f"{parts.path}?{parts.query}", headers=dict(headers or {}))
            answer = connection.getresponse()
            if answer.status == 302:
                url = answer.headers["Location"]
                continue
            if answer.status not in (200, 206):
                raise Refused(answer.status, answer.read(1000))
            began, content = time.monotonic(), bytearray()
            while piece := answer.read(PIECE_BYTES):
                content += piece
                time.sleep(max(0.0, began + len(content) / bytes_per_second - time.monotonic()))
            assert answer.length == 0, "the end came before what was announced"
            return bytes(content)
        finally:
            connection.close()


def _connected(host: str | None, port: int | None) -> socket.socket:
    connection = socket.socket()
    # Set before it connects, when the window is settled.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    connection.settimeout(TIMEOUT_SECONDS)
    connection.connect((host, port))
    return connection
