"""Raw requests, as the clients of every language put them on the wire, one connection each."""

import base64
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import urlencode, urlsplit
from xml.sax.saxutils import escape

from dev.clients.runtime_token import runtime_token

SERVICE = "github.actions.results.api.v1.CacheService"

ACTIONS_CACHE = "@actions/cache-6.3.0"
OPENDAL = "opendal/0.47.0"
GO = "Go-http-client/1.1"

VERSION = "a" * 64
"""Stands for the digest of paths and compression that clients send as `version`."""

TIMEOUT_SECONDS = 60
MERGE_SECONDS = 30
"""How long a merge may take on a busy machine; one of 60 MiB takes less than one."""


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def send(method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
    """Just these headers beside Host, and Content-Length where there is a body that isn't chunked.

    Raises: IncompleteRead when the connection breaks before the announced end.
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
    """The URL with parameters before or after its own."""
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
    """As OpenDAL makes them."""
    return base64.b64encode(uuid.uuid4().bytes).decode()


@dataclass(frozen=True)
class Job:
    """A job with its token, talking to the cache service at `server`."""

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
        """The upload URL."""
        reply = self.create(key)
        assert reply.status == 200, reply.body
        url: str = reply.json["signed_upload_url"]
        return url

    def finalize(self, key: str, size: int | str) -> Reply:
        return self.call("FinalizeCacheEntryUpload", key=key, size_bytes=size)

    def save(self, key: str, *blocks: bytes) -> None:
        """By a Put Blob where there is one block, else by a block list."""
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
        """The answer's message."""
        reply = self.call("GetCacheEntryDownloadURL", key=key, restore_keys=restore_keys)
        assert reply.status == 200, reply.body
        return reply.json

    def download_url(self, key: str) -> str:
        hit = self.look_up(key)
        assert hit["ok"], f"no entry for {key}"
        url: str = hit["signed_download_url"]
        return url

    def restore(self, key: str, **headers: str) -> Reply:
        """What a GET of the download URL brings, redirects followed."""
        reply = send("GET", self.download_url(key), headers=headers)
        return send("GET", reply.headers["Location"], headers=headers) if reply.status == 302 else reply

    def is_ours(self, url: str) -> bool:
        """Return whether the URL is this server's own, and not the store's."""
        return url.startswith(f"{self.server}/")

    def wait_until_merged(self, key: str) -> None:
        plain_reader = Job(self.server, self.token, ACTIONS_CACHE)
        deadline = time.monotonic() + MERGE_SECONDS
        while self.is_ours(plain_reader.download_url(key)):
            assert time.monotonic() < deadline, f"{key} isn't merged after {MERGE_SECONDS} s"
            time.sleep(0.2)
