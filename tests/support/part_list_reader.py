"""A client that reads an archive by its part list, over several connections (docs/design/parts-protocol.md).

It keeps the protocol's rules for readers and does no more: it tries no range again, but reads the rest the plain way.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any
from urllib.parse import parse_qs

from dev.clients.wire import Reply, send

MEDIA_TYPE = "application/vnd.actions-cache.parts.v1+json"
RANGE_BYTES = 16 * 1024 * 1024
CONNECTIONS = 8


class NoList(Exception):
    """Raised when the server gives the plain answer."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"{reply.status} {reply.headers['Content-Type']}")
        self.reply = reply


class RangeRefused(Exception):
    """Raised when a range may not be begun, or brings other than its bytes."""


@dataclass(frozen=True)
class ListedPart:
    url: str
    size: int
    etag: str


@dataclass
class PartListReader:
    """Reads the parts of a list."""

    message: Mapping[str, Any]
    reply: Reply
    store_is_ahead: timedelta = timedelta()
    """Difference of the store's clock and ours, by the last Date that the store sent."""

    @classmethod
    def of(cls, url: str) -> "PartListReader":
        """Ask a download URL for its part list.

        Raises:
            NoList: the server gives the plain answer.
        """
        reply = ask(url)
        if reply.status != 200 or reply.headers["Content-Type"] != MEDIA_TYPE:
            raise NoList(reply)
        message = reply.json
        assert message["version"] == 1
        assert message["size"] == sum(size for _, size, _, _ in message["parts"])
        return cls(message, reply)

    @property
    def parts(self) -> list[ListedPart]:
        base, query = self.message["base"], self.message["query"]
        return [
            ListedPart(f"{base}{path}?{query}&X-Amz-Signature={signature}", size, etag)
            for path, size, etag, signature in self.message["parts"]
        ]

    @property
    def expires_at(self) -> datetime:
        """Return the end of all URLs, by the store's clock."""
        query = parse_qs(self.message["query"])
        signed_at = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return signed_at + timedelta(seconds=int(query["X-Amz-Expires"][0]))

    def ranges(self, range_bytes: int = RANGE_BYTES, connections: int = CONNECTIONS) -> Iterator[bytes]:
        """Yield the ranges in order.

        Raises:
            RangeRefused: one can't be had, so that the rest is to be read the plain way.
        """
        wanted = [
            (part, start, min(start + range_bytes, part.size))
            for part in self.parts
            for start in range(0, part.size, range_bytes)
        ]
        with ThreadPoolExecutor(connections) as executor:
            reading = [executor.submit(self.read, *one) for one in wanted]
            try:
                for got in reading:
                    yield got.result()
            except (HTTPException, OSError) as error:
                raise RangeRefused from error
            finally:
                executor.shutdown(wait=False, cancel_futures=True)

    def read(self, part: ListedPart, start: int, end: int) -> bytes:
        """Return the bytes from `start` up to `end` of a part.

        Raises:
            RangeRefused: the URL has ended, or other bytes came, or none.
        """
        if datetime.now(UTC) + self.store_is_ahead >= self.expires_at:
            raise RangeRefused("the URLs have ended")
        reply = send("GET", part.url, headers={"Range": f"bytes={start}-{end - 1}", "If-Match": part.etag})
        if date := reply.headers["Date"]:
            self.store_is_ahead = parsedate_to_datetime(date) - datetime.now(UTC)
        got = reply.status, reply.headers["Content-Range"], len(reply.body), reply.headers["ETag"]
        if got != (206, f"bytes {start}-{end - 1}/{part.size}", end - start, part.etag):
            raise RangeRefused(*got, reply.body[:300])
        return reply.body


def ask(url: str, accept: str = MEDIA_TYPE, **headers: str) -> Reply:
    """Return the server's answer to a request for the list, whatever it is."""
    return send("GET", url, headers={"Accept": accept, **{name.replace("_", "-"): it for name, it in headers.items()}})


def read_by_list(url: str, range_bytes: int = RANGE_BYTES, connections: int = CONNECTIONS) -> tuple[bytes, int]:
    """Return the archive, and how many of its bytes came by its part list. The rest came the plain way.

    Raises:
        NoList: the server gives the plain answer.
    """
    reader, content = PartListReader.of(url), bytearray()
    try:
        for got in reader.ranges(range_bytes, connections):
            content += got
    except RangeRefused:
        by_list = len(content)
        content += read_plainly(url, by_list)
        return bytes(content), by_list
    return bytes(content), len(content)


def read_plainly(url: str, offset: int) -> bytes:
    """Return the archive from an offset on, without a list."""
    headers = {"Range": f"bytes={offset}-"}
    reply = send("GET", url, headers=headers)
    reply = send("GET", reply.headers["Location"], headers=headers) if reply.status == 302 else reply
    assert reply.status == 206, (reply.status, reply.body[:300])
    return reply.body
