"""Raw requests, as the clients of every language put them on the wire, one connection each."""

import base64
import hashlib
import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message as Headers
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit
from xml.sax.saxutils import escape

from google.protobuf.message import Message

from dev.clients.runtime_token import runtime_token

SERVICE = "github.actions.results.api.v1.CacheService"
V1_ROOT = "_apis/artifactcache"

ACTIONS_CACHE = "@actions/cache-6.3.0"
OPENDAL = "opendal/0.47.0"
GO = "Go-http-client/1.1"

VERSION = "a" * 64
"""Stands for the digest of paths and compression that clients send as `version`."""

TIMEOUT_SECONDS = 60
MERGE_SECONDS = 30
MERGES_THAT_MAY_WIN = 50
"""Longest time that a merge may take on a busy machine; one of 60 MiB takes less than a second."""

READ_BYTES = 64 * 1024


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Headers
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def send(method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
    """Send these headers beside Host, and Content-Length where there is a body that isn't chunked.

    Raises:
        IncompleteRead: the connection breaks before the announced end.
    """
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=TIMEOUT_SECONDS)
    try:
        connection.putrequest(
            method, f"{parts.path}?{parts.query}" if parts.query else parts.path, skip_accept_encoding=True
        )
        all_headers = dict(headers or {})
        if body is not None and "Transfer-Encoding" not in all_headers:
            all_headers.setdefault("Content-Length", str(len(body)))
        for name, value in all_headers.items():
            connection.putheader(name, value)
        with suppress(BrokenPipeError, ConnectionResetError):
            # A server that refuses needn't take the whole body; its answer says why.
            connection.endheaders(body)
        answer: HTTPResponse = connection.getresponse()
        return Reply(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def with_query(url: str, *, first: Mapping[str, str] | None = None, last: Mapping[str, str] | None = None) -> str:
    """Return the URL with parameters before or after its own."""
    base, _, query = url.partition("?")
    return "?".join([base, "&".join(part for part in (urlencode(first or {}), query, urlencode(last or {})) if part)])


def put_blob(url: str, body: bytes) -> Reply:
    return send("PUT", url, body, {"x-ms-blob-type": "BlockBlob"})


def put_block(url: str, block_id: str, body: bytes) -> Reply:
    return send("PUT", with_query(url, last={"comp": "block", "blockid": block_id}), body)


def put_block_list(url: str, block_ids: Sequence[str], tag: str = "Latest") -> Reply:
    return send("PUT", with_query(url, last={"comp": "blocklist"}), block_list_xml(block_ids, tag))


def block_list_xml(block_ids: Sequence[str], tag: str = "Latest") -> bytes:
    rows = "".join(f"<{tag}>{escape(block_id)}</{tag}>" for block_id in block_ids)
    return f'<?xml version="1.0" encoding="utf-8"?>\n<BlockList>{rows}</BlockList>'.encode()


def random_block_id() -> str:
    """Return a block id like OpenDAL's."""
    return base64.b64encode(uuid.uuid4().bytes).decode()


@dataclass(frozen=True)
class Job:
    """A job with its token, which talks to the cache service at `server`."""

    server: str
    token: str = field(default_factory=runtime_token)
    user_agent: str = ACTIONS_CACHE

    def post(self, method: str, body: bytes, content_type: str = "application/json", **headers: str) -> Reply:
        usual = {"Authorization": f"Bearer {self.token}", "Content-Type": content_type, "User-Agent": self.user_agent}
        return send("POST", f"{self.server}/twirp/{SERVICE}/{method}", body, usual | headers)

    def call(self, method: str, **message: Any) -> Reply:
        return self.post(method, json.dumps({"version": VERSION, **message}).encode())

    def create(self, key: str) -> Reply:
        return self.call("CreateCacheEntry", key=key)

    def reserve(self, key: str) -> str:
        """Reserve the key, and return the upload URL."""
        reply = self.create(key)
        assert reply.status == 200, reply.body
        url: str = reply.json["signed_upload_url"]
        return url

    def finalize(self, key: str, size: int | str) -> Reply:
        return self.call("FinalizeCacheEntryUpload", key=key, size_bytes=size)

    def save(self, key: str, *blocks: bytes) -> None:
        """Save an entry: one block by Put Blob, several by a block list."""
        url = self.reserve(key)
        if len(blocks) == 1:
            assert put_blob(url, blocks[0]).status == 201
        else:
            ids = [random_block_id() for _ in blocks]
            assert all(put_block(url, *block).status == 201 for block in zip(ids, blocks, strict=True))
            assert put_block_list(url, ids).status == 201
        finalized = self.finalize(key, sum(map(len, blocks)))
        assert finalized.json["ok"], finalized.body

    def look_up(self, key: str, *restore_keys: str) -> Any:
        """Return the message of the lookup's answer."""
        reply = self.call("GetCacheEntryDownloadURL", key=key, restore_keys=restore_keys)
        assert reply.status == 200, reply.body
        return reply.json

    def download_url(self, key: str) -> str:
        hit = self.look_up(key)
        assert hit["ok"], f"no entry for {key}"
        url: str = hit["signed_download_url"]
        return url

    def restore(self, key: str, **headers: str) -> Reply:
        """Return the answer to a GET of the download URL, or of the URL that it redirects to."""
        reply = send("GET", self.download_url(key), headers=headers)
        return send("GET", reply.headers["Location"], headers=headers) if reply.status == 302 else reply

    def is_ours(self, url: str) -> bool:
        """Return whether the URL is this server's own, and not S3's."""
        return url.startswith(f"{self.server}/")

    def save_in_parts(self, *blocks: bytes) -> tuple[str, str]:
        """Save an entry, and return its key and its download URL, which was given out before the merge.

        A merge may be faster than the lookup: then another entry is saved.
        """
        for _ in range(MERGES_THAT_MAY_WIN):
            key = f"in-parts-{uuid.uuid4()}"
            self.save(key, *blocks)
            if "/blobs/download/" in (url := self.download_url(key)):
                return key, url
        raise AssertionError(f"{MERGES_THAT_MAY_WIN} merges were faster than a lookup")

    def wait_until_merged(self, key: str) -> None:
        plain_reader = Job(self.server, self.token, ACTIONS_CACHE)
        deadline = time.monotonic() + MERGE_SECONDS
        while self.is_ours(plain_reader.download_url(key)):
            assert time.monotonic() < deadline, f"{key} isn't merged after {MERGE_SECONDS} s"
            time.sleep(0.2)


MessageT = TypeVar("MessageT", bound=Message)


def protobuf(job: Job, method: str, message: Message, into: MessageT) -> MessageT:
    """Call a twirp method in protobuf, as OpenDAL, sccache and magic-nix-cache do."""
    reply = job.post(method, message.SerializeToString(), "application/protobuf")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/protobuf"), reply.body
    into.ParseFromString(reply.body)
    return into


@dataclass(frozen=True)
class V1Job:
    """A job that uses the v1 API, as of GHES, Gitea and act."""

    server: str
    token: str

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        usual = {"Authorization": f"Bearer {self.token}", "User-Agent": "actions/cache"}
        return send(method, f"{self.server}/{V1_ROOT}/{path}", body, usual | headers)

    def post(self, path: str, **message: Any) -> Reply:
        return self.ask("POST", path, json.dumps(message).encode(), **{"Content-Type": "application/json"})

    def reserve(self, key: str = "key") -> int:
        """Reserve the key, and return the cache's number."""
        reply = self.post("caches", key=key, version=VERSION)
        assert reply.status == 201, reply.body
        number: int = reply.json["cacheId"]
        return number

    def chunk(self, number: object, content_range: str, body: bytes) -> Reply:
        chunked = {"Content-Range": content_range, "Transfer-Encoding": "chunked"}
        chunks = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
        return self.ask("PATCH", f"caches/{number}", chunks + b"0\r\n\r\n", **chunked)

    def commit(self, number: object, size: int) -> Reply:
        return self.post(f"caches/{number}", size=size)

    def look_up(self, keys: str = "key") -> Reply:
        return self.ask("GET", f"cache?keys={keys}&version={VERSION}")

    def list_similar(self, key: str) -> Reply:
        return self.ask("GET", f"caches?key={key}")


# ---------------------------------------------------------------- reads that are timed


@dataclass
class Reading:
    """The answer to a GET, and its timing. Seconds count from the first request on."""

    status: int
    headers: Headers
    headers_after: float
    first_byte_after: float = 0.0
    longest_silence: float = 0.0
    """Longest time between headers and first byte, or between two bytes."""
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
    """Read to the end, or until the connection breaks. Redirects are followed, as clients do."""
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
