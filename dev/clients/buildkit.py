"""BuildKit's cache export and import, request by request.

As go-actions-cache sends them (cache_v2.go, readerat.go), with azblob 1.5 beneath, and BuildKit's
cache/remotecache/gha above. What stops the Go code raises `GoFails` here.
"""

import base64
import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from dev.clients.wire import SERVICE, TIMEOUT_SECONDS, Reply, block_list_xml

REPRODUCED = "The requests of go-actions-cache"
"""Name of this version in docs/use/clients.md."""

USER_AGENT = "go-actions-cache/1.0"
AZBLOB = {
    "Accept": "application/xml",
    "User-Agent": "azsdk-go-azblob/v1.5.0 (go1.24.4; linux)",
    "x-ms-version": "2024-11-04",
}

BLOCK_BYTES = 1024 * 1024
"""Default block size of azblob's UploadStream; what is shorter is one Put Blob."""

VERSION = hashlib.sha256(b"|go-actionscache-1.0").hexdigest()
"""Version of all keys."""


class GoFails(Exception):
    """Raised where the export or import ends with an error, or the process panics."""


class AlreadyExists(Exception):
    """Raised where Go returns os.ErrExist, with which the caller goes on."""


def layer_key(layer: bytes) -> str:
    return f"buildkit-blob-1-sha256:{hashlib.sha256(layer).hexdigest()}"


def index_key(scope: str) -> str:
    """Return the prefix of the keys of all exports of this scope; a number follows."""
    return f"index-buildkit-1-{hashlib.sha256(scope.encode()).hexdigest()[:8]}"


@dataclass
class BuildKit:
    server: str
    token: str
    blocks_sent: int = 0
    _connections: dict[str, HTTPConnection] = field(default_factory=dict)
    """Open connections by host."""

    # ---------------------------------------------------------------- what BuildKit does

    def export_layer(self, layer: bytes) -> bool:
        """Export a layer, and return whether it had to be sent."""
        key = layer_key(layer)
        if self.load(key) is not None:
            return False
        try:
            self.save(key, layer)
        except AlreadyExists:
            return False
        return True

    def export_index(self, scope: str, index: bytes) -> str:
        """Save the index under the next number that no export holds, and return the key."""
        prefix = f"{index_key(scope)}#"
        newest = self.load(prefix)
        if newest is not None and (self.load(prefix) or newest).key != newest.key:
            raise GoFails("the newest index changes without an export")
        number = int(newest.key.removeprefix(prefix)) if newest else 0
        while True:
            number += 1
            try:
                self.save(f"{prefix}{number}", index)
            except AlreadyExists:
                continue
            return f"{prefix}{number}"

    def import_index(self, scope: str) -> bytes | None:
        entry = self.load(index_key(scope))
        return entry.read() if entry else None

    # ---------------------------------------------------------------- the client beneath

    def load(self, *keys: str) -> "Entry | None":
        answer = self._call("GetCacheEntryDownloadURL", {"key": keys[0], "restore_keys": keys, "version": VERSION})
        if not answer.get("ok", False):
            return None
        return Entry(self, keys, _text(answer, "matched_key"), _text(answer, "signed_download_url"))

    def save(self, key: str, data: bytes) -> None:
        """Save an entry.

        Raises:
            AlreadyExists: the key is taken.
        """
        self.upload(self.reserve(key), data)
        self.finalize(key, len(data))

    def finalize(self, key: str, size: int) -> None:
        message = {"key": key, "size_bytes": size, "version": VERSION}
        finalized = self._call("FinalizeCacheEntryUpload", message)
        if not finalized.get("ok", False):
            raise GoFails("failed to commit cache")
        _text(finalized, "entry_id")

    def reserve(self, key: str) -> str:
        """Reserve the key, and return the upload URL.

        Raises:
            AlreadyExists: the key is taken.
        """
        reserved = self._call("CreateCacheEntry", {"key": key, "version": VERSION})
        if not reserved.get("ok", False):
            raise GoFails("failed to reserve cache")
        return _text(reserved, "signed_upload_url")

    def upload(self, url: str, data: bytes) -> None:
        if len(data) < BLOCK_BYTES:
            self._put(url, data, {"Content-Type": "application/octet-stream", "x-ms-blob-type": "BlockBlob"})
            return
        self.commit(url, self.put_blocks(url, data))

    def put_blocks(self, url: str, data: bytes) -> list[str]:
        """Put the blocks one after the other, and return their ids."""
        prefix = uuid.uuid4().bytes
        ids: list[str] = []
        for start in range(0, len(data), BLOCK_BYTES):
            ids.append(base64.b64encode(prefix + len(ids).to_bytes(4, "big") + bytes(44)).decode())
            block = _encoded(url, {"comp": "block", "blockid": ids[-1]})
            self._put(block, data[start : start + BLOCK_BYTES], {"Content-Type": "application/octet-stream"})
        self.blocks_sent += len(ids)
        return ids

    def commit(self, url: str, ids: Sequence[str]) -> None:
        self._put(_encoded(url, {"comp": "blocklist"}), block_list_xml(ids), {"Content-Type": "application/xml"})

    def _call(self, method: str, message: Mapping[str, Any]) -> dict[str, Any]:
        """Call a method of the cache service.

        Raises:
            AlreadyExists: the key is taken.
            GoFails: the answer is another error.
        """
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
        }
        url = f"{self.server}/twirp/{SERVICE}/{method}"
        reply = self._whole("POST", url, headers, json.dumps(message).encode())
        answer: dict[str, Any] = reply.json
        if reply.status // 100 == 2:
            return answer
        if answer.get("code") == "already_exists":
            raise AlreadyExists(answer)
        raise GoFails(f"{reply.status}: {answer}")

    def _put(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        reply = self._whole("PUT", url, {**AZBLOB, **headers}, body)
        if reply.status != 201:
            raise GoFails(f"{reply.status}: {reply.body!r}")
        if "x-ms-request-id" not in reply.headers:
            raise GoFails("panic: nil pointer dereference (RequestID)")

    def _whole(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        answer = self.open(method, url, headers, body)
        return Reply(answer.status, answer.headers, answer.read())

    def open(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> HTTPResponse:
        """Send a request, and return the answer with its body unread."""
        parts = urlsplit(url)
        connection = self._connections.setdefault(parts.netloc, HTTPConnection(parts.netloc, timeout=TIMEOUT_SECONDS))
        connection.request(method, f"{parts.path}?{parts.query}" if parts.query else parts.path, body, dict(headers))
        return connection.getresponse()

    def drop(self, url: str) -> None:
        """Close a connection whose answer isn't read to its end, as Go's net/http does."""
        self._connections.pop(urlsplit(url).netloc).close()

    def close(self) -> None:
        while self._connections:
            self._connections.popitem()[1].close()


@dataclass
class Entry:
    client: BuildKit
    asked: Sequence[str]
    key: str
    url: str

    def read(self) -> bytes:
        answer = self._opened(0)
        data = answer.read()
        if len(data) != int(answer.headers["Content-Length"]):
            raise GoFails("unexpected EOF")
        return data

    def read_at(self, offset: int, size: int) -> bytes:
        """Seek: drop the answer under way, request the rest anew, and read `size` bytes of it."""
        data = self._opened(offset).read(size)
        self.client.drop(self.url)
        return data

    def _opened(self, offset: int, *, again: bool = True) -> HTTPResponse:
        """GET from an offset. Redirects are followed with the same headers, as by azblob's default transport."""
        headers = {**AZBLOB, **({"x-ms-range": f"bytes={offset}-"} if offset else {})}
        answer = self.client.open("GET", self.url, headers)
        if answer.status == 302:
            answer.read()
            answer = self.client.open("GET", answer.headers["Location"], headers)
        if answer.status in (401, 403) and again:
            answer.read()
            self.url = _reloaded(self.client, self.asked).url
            return self._opened(offset, again=False)
        if answer.status not in (200, 206):
            raise GoFails(f"{answer.status}: {answer.read()!r}")
        return answer


def _reloaded(client: BuildKit, keys: Sequence[str]) -> Entry:
    entry = client.load(*keys)
    if entry is None:
        raise GoFails("cache entry no longer exists")
    return entry


def _text(message: Mapping[str, Any], name: str) -> str:
    value = message.get(name, "")
    if not isinstance(value, str):
        raise GoFails(f"cannot unmarshal {type(value)} into Go struct field {name} of type string")
    return value


def _encoded(url: str, more: Mapping[str, str]) -> str:
    """Return the URL with all parameters encoded anew and sorted, as by Go's url.Values."""
    base, _, query = url.partition("?")
    return f"{base}?{urlencode(sorted({**dict(parse_qsl(query)), **more}.items()))}"
