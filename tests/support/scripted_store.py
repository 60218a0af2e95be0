"""A cache server and its S3, as far as restores see them, whose answers a test changes by script.

Both speak HTTP from one thread, each on a port of its own, and serve many archives at once, each by its own rules.
"""

import asyncio
import json
import re
import socket
import struct
import threading
import time
from calendar import timegm
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from dataclasses import field as made
from email.utils import formatdate
from functools import lru_cache
from hashlib import sha256
from random import Random
from typing import Any, Final, Literal
from urllib.parse import parse_qs, urlsplit

MEDIA_TYPE: Final = "application/vnd.actions-cache.parts.v1+json"
PIECE: Final = 128 * 1024
SLOW_PIECE: Final = 4 * 1024
"""Bytes that are sent at once, where there is a rate."""

Kind = Literal["list", "stream", "first", "range", "rest"]
"""What is asked: the server for its list or the plain stream; the store for all, a range, or all from an offset on.

`rest` may go to the server too.
"""


@dataclass(frozen=True)
class Ask:
    """One request for an archive's bytes or list, as it arrived."""

    kind: Kind
    number: int
    """How many of its kind came before it."""
    start: int
    """Offset in the archive of the first byte that is asked for."""
    headers: Mapping[str, str]
    by_server: bool
    seconds_left: float
    """Until its URL's end, by the store's clock."""
    url: str
    whole_url: str
    """A presigned URL of the archive as one object, which an unmerged one has too."""


@dataclass(frozen=True)
class Reply:
    """One answer, and what becomes of its connection."""

    status: int
    headers: Mapping[str, str] = made(default_factory=dict)
    body: bytes | memoryview = b""
    cut: int | None = None
    """Bytes of the body after which it isn't sent on."""
    then: Literal["reset", "stall", "close"] = "reset"
    """What happens at the cut."""
    wait: float = 0
    """Seconds before the answer."""
    rate: float | None = None
    """Bytes a second; None for as fast as they are taken."""

    def having(self, **headers: str | None) -> "Reply":
        """Return it with these headers; None leaves one out."""
        changed = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return replace(self, headers={name: value for name, value in changed.items() if value is not None})


Rule = Callable[[Ask, Reply], Reply]


@dataclass
class Archive:
    """An archive, the rules that change answers for it in turn, and what was asked for it."""

    size: int
    parts: Sequence[int] | None = None
    """Sizes of the parts of an unmerged archive; None if one object holds it."""
    rules: Sequence[Rule] = ()
    url_seconds: int = 600
    ahead: float = 0
    """Seconds by which the clocks of server and store are ahead of the runner's."""
    knows_lists: bool = True
    is_redirected: bool = False
    """Whether the server's own download URL leads to one object in the store."""
    asks: list[Ask] = made(default_factory=list)
    most_connections: int = 0
    _open: int = 0

    @property
    def content(self) -> bytes:
        return content_of(self.size)

    @property
    def digest(self) -> str:
        return sha256(self.content).hexdigest()

    def asked(self, *kinds: Kind) -> list[Ask]:
        return [ask for ask in self.asks if ask.kind in kinds]

    @contextmanager
    def connected(self) -> Iterator[None]:
        self._open += 1
        self.most_connections = max(self.most_connections, self._open)
        try:
            yield
        finally:
            self._open -= 1


_CONTENT = Random(5).randbytes(1 << 20)


@lru_cache(maxsize=100)
def content_of(size: int) -> bytes:
    """Return bytes that differ at each offset of a range: no two of its rows are the same."""
    rows = (_CONTENT[index % 251 :] + _CONTENT[: index % 251] for index in range(size // len(_CONTENT) + 1))
    return b"".join(rows)[:size]


@dataclass(frozen=True)
class ScriptedStore:
    """Serves archives by name."""

    archives: dict[str, Archive] = made(default_factory=dict)
    sockets: list[Any] = made(default_factory=list)

    @property
    def url(self) -> str:
        """Return the server's URL."""
        return f"http://127.0.0.1:{self.sockets[0].getsockname()[1]}"

    @property
    def store_url(self) -> str:
        return f"http://127.0.0.1:{self.sockets[1].getsockname()[1]}"

    def now(self, archive: Archive) -> float:
        return time.time() + archive.ahead

    # ------------------------------------------------------------------------------------------------ what is signed

    def presigned(self, name: str, thing: str) -> tuple[str, str, str]:
        """Return path, query and signature of an object's URL."""
        archive = self.archives[name]
        date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self.now(archive)))
        query = f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date={date}&X-Amz-Expires={archive.url_seconds}"
        path = f"{name}/{thing}"
        return path, query, sha256(f"{path} {query}".encode()).hexdigest()

    def object_url(self, name: str) -> str:
        path, query, signature = self.presigned(name, "whole")
        return f"{self.store_url}/store/{path}?{query}&X-Amz-Signature={signature}"

    def download_url(self, name: str) -> str:
        archive = self.archives[name]
        if archive.parts is None and not archive.is_redirected:
            return self.object_url(name)
        return f"{self.url}/blobs/download/{name}?se={int(self.now(archive)) + archive.url_seconds}"

    def part_list(self, name: str) -> bytes:
        archive = self.archives[name]
        rows, query = [], ""
        for index, size in enumerate(archive.parts or ()):
            path, query, signature = self.presigned(name, str(index))
            rows.append([path, size, etag(path), signature])
        message = {
            "version": 1,
            "size": archive.size,
            "base": f"{self.store_url}/store/",
            "query": query,
            "parts": rows,
        }
        return json.dumps(message).encode()

    # --------------------------------------------------------------------------------------------------- what is asked

    def answer(self, target: str, headers: Mapping[str, str], body: bytes) -> tuple[Archive | None, Reply]:
        url = urlsplit(target)
        _, *way = url.path.split("/")
        if way[0] == "runner":
            return None, _json({"status": "ok"})
        if way[0] == "twirp":
            name = json.loads(body)["key"]
            return None, _json({"ok": True, "signed_download_url": self.download_url(name), "matched_key": name})
        name, query = way[2] if way[0] == "blobs" else way[1], parse_qs(url.query)
        archive = self.archives[name]
        if way[0] == "blobs":
            ask, reply = self._by_server(name, archive, headers, int(query["se"][0]) - self.now(archive))
        else:
            ask, reply = self._by_store(name, archive, way[2], query, headers)
        archive.asks.append(ask)
        for rule in archive.rules:
            reply = rule(ask, reply)
        return archive, reply

    def _by_server(self, name: str, archive: Archive, headers: Mapping[str, str], left: float) -> tuple[Ask, Reply]:
        wants_list = headers.get("accept") == MEDIA_TYPE
        start = _start(headers)
        kind: Kind = "list" if wants_list else "stream" if start is None else "rest"
        ask = Ask(
            kind, len(archive.asked(kind)), start or 0, headers, by_server=True, seconds_left=left, **self._urls(name)
        )
        usual = {"Date": formatdate(self.now(archive), usegmt=True), "Content-Type": "application/octet-stream"}
        if left < 0:
            return ask, Reply(403, usual)
        if archive.is_redirected:
            return ask, Reply(302, {**usual, "Location": self.object_url(name)})
        if wants_list and archive.knows_lists:
            return ask, Reply(200, {**usual, "Content-Type": MEDIA_TYPE}, self.part_list(name))
        return ask, _ranged(memoryview(archive.content), headers, usual)

    def _by_store(
        self, name: str, archive: Archive, thing: str, query: Mapping[str, list[str]], headers: Mapping[str, str]
    ) -> tuple[Ask, Reply]:
        path, offset, content = f"{name}/{thing}", 0, memoryview(archive.content)
        if thing != "whole":
            sizes = archive.parts or ()
            offset = sum(sizes[: int(thing)])
            content = content[offset : offset + sizes[int(thing)]]
        asked = headers.get("range", "")
        kind: Kind = "first" if not asked else "rest" if asked.endswith("-") else "range"
        signed_at = time.strptime(f"{query['X-Amz-Date'][0]} UTC", "%Y%m%dT%H%M%SZ %Z")
        ends_at = timegm(signed_at) + int(query["X-Amz-Expires"][0])
        left = ends_at - self.now(archive)
        number = len(archive.asked(kind))
        ask = Ask(
            kind,
            number,
            offset + (_start(headers) or 0),
            headers,
            by_server=False,
            seconds_left=left,
            **self._urls(name),
        )
        usual = {"Date": formatdate(self.now(archive), usegmt=True), "ETag": etag(path)}
        signed = "&".join(f"{field}={query[field][0]}" for field in ("X-Amz-Algorithm", "X-Amz-Date", "X-Amz-Expires"))
        if left < 0 or query["X-Amz-Signature"] != [sha256(f"{path} {signed}".encode()).hexdigest()]:
            return ask, Reply(403, usual, b"<Error><Code>AccessDenied</Code></Error>")
        if headers.get("if-match", etag(path)) != etag(path):
            return ask, Reply(412, usual, b"<Error><Code>PreconditionFailed</Code></Error>")
        return ask, _ranged(content, headers, usual)

    def _urls(self, name: str) -> dict[str, str]:
        return {"url": self.download_url(name), "whole_url": self.object_url(name)}

    # ------------------------------------------------------------------------------------------------------ connections

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._serve_one(reader, writer):
                pass
        writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request, and return whether another may follow."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        archive, reply = self.answer(first.split(" ")[1], headers, body)
        async with _counted(archive, headers):
            await asyncio.sleep(reply.wait)
            length = {} if "Transfer-Encoding" in reply.headers else {"Content-Length": str(len(reply.body))}
            names = {**length, **reply.headers}
            start = "".join(f"{name}: {value}\r\n" for name, value in names.items())
            if reply.cut is None or reply.cut >= 0:
                writer.write(f"HTTP/1.1 {reply.status} scripted\r\n{start}\r\n".encode("latin-1"))
            await _send(writer, reply.body[: reply.cut if reply.cut is None else max(reply.cut, 0)], reply.rate)
            if reply.cut is None:
                return headers.get("connection") != "close"
            if reply.then == "stall":
                await reader.read()
            elif reply.then == "reset":
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
            return False


async def _send(writer: asyncio.StreamWriter, body: bytes | memoryview, rate: float | None) -> None:
    size = PIECE if rate is None else SLOW_PIECE
    for start in range(0, len(body), size):
        piece = body[start : start + size]
        writer.write(piece)
        await writer.drain()
        if rate is not None:
            await asyncio.sleep(len(piece) / rate)


@asynccontextmanager
async def _counted(archive: Archive | None, headers: Mapping[str, str]) -> AsyncIterator[None]:
    if archive is None:
        yield
        return
    with archive.connected():
        yield


def _json(message: object) -> Reply:
    return Reply(200, {"Content-Type": "application/json"}, json.dumps(message).encode())


def _start(headers: Mapping[str, str]) -> int | None:
    asked = re.match(r"bytes=(\d+)-", headers.get("range", ""))
    return int(asked.group(1)) if asked else None


def _ranged(content: memoryview, headers: Mapping[str, str], usual: Mapping[str, str]) -> Reply:
    start = _start(headers)
    if start is None:
        return Reply(200, usual, content)
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", headers["range"])
    if not asked or start >= len(content):
        return Reply(416, usual)
    last = int(asked.group(2) or len(content) - 1)
    part = content[start : last + 1]
    return Reply(206, {**usual, "Content-Range": f"bytes {start}-{start + len(part) - 1}/{len(content)}"}, part)


def etag(path: str) -> str:
    return f'"{sha256(path.encode()).hexdigest()[:32]}"'


@contextmanager
def scripted_store(archives: dict[str, Archive] | None = None) -> Iterator[ScriptedStore]:
    """Serve until the block ends."""
    store, loop = ScriptedStore({} if archives is None else archives), asyncio.new_event_loop()
    servers = [
        loop.run_until_complete(asyncio.start_server(store.serve, "127.0.0.1", 0, backlog=4096)) for _ in range(2)
    ]
    store.sockets.extend(server.sockets[0] for server in servers)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield store
    finally:
        asyncio.run_coroutine_threadsafe(_close(servers), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _close(servers: Sequence[asyncio.Server]) -> None:
    for server in servers:
        server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
