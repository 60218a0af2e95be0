"""A client that only reads, by a bare connection, and notes when what came."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

READ_BYTES = 64 * 1024
TIMEOUT_SECONDS = 60


@dataclass
class Reading:
    """Seconds are since the request was sent."""

    status: int
    headers: Message
    headers_after: float
    first_byte_after: float = 0.0
    longest_silence: float = 0.0
    """Between headers and first byte, or two bytes."""
    ended_after: float = 0.0
    size: int = 0
    digest: str = ""
    broken: bool = False
    """True if the connection ended before the announced end."""
    redirects: list[str] = field(default_factory=list)

    @property
    def announced(self) -> int:
        return int(self.headers["Content-Length"])


def read(url: str, on_first_byte: Callable[[], None] = lambda: None) -> Reading:
    """Reads to the end, if it comes. Redirects are followed, as clients do."""
    began, redirects = time.monotonic(), list[str]()
    while True:
        parts = urlsplit(url)
        connection = HTTPConnection(parts.netloc, timeout=TIMEOUT_SECONDS)
        try:
            connection.request("GET", f"{parts.path}?{parts.query}")
            answer = connection.getresponse()
            if answer.status == 302:
                url = answer.headers["Location"]
                redirects.append(url)
                continue
            reading = Reading(answer.status, answer.headers, time.monotonic() - began, redirects=redirects)
            last, sha = began + reading.headers_after, hashlib.sha256()
            try:
                while chunk := answer.read1(READ_BYTES):
                    now = time.monotonic()
                    reading.longest_silence = max(reading.longest_silence, now - last)
                    if not reading.size:
                        reading.first_byte_after = now - began
                        on_first_byte()
                    reading.size += len(chunk)
                    sha.update(chunk)
                    last = now
            except (HTTPException, OSError):
                reading.broken = True
            reading.broken = reading.broken or reading.size < reading.announced
            reading.ended_after = time.monotonic() - began
            reading.digest = sha.hexdigest()
            return reading
        finally:
            connection.close()
