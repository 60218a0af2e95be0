"""hestia, a Nix binary cache in the cache of GitHub's Actions, request by request.

As Mic92/hestia sends them (src/gha, src/pipeline.rs, src/substituter.rs) by reqwest, which names no User-Agent of its
own. What hestia takes for an error raises `HestiaFails` here.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from dev.clients.wire import SERVICE, Reply, send

REPRODUCED = "The requests of August 2026"
"""Name of this version in docs/use/clients.md."""

VERSION = hashlib.sha256(b"hestia-2").hexdigest()
"""Version of all entries."""

MANIFEST = "m#"
"""Prefix of the manifests' keys; a number follows, and the newest manifest holds."""

STALE_AFTER = 3
"""Conflicts on one number after which its writer counts as dead. hestia waits 3 s after each, and counts to 20."""

AZURE = {"accept": "*/*", "x-ms-version": "2020-04-08"}


class HestiaFails(Exception):
    """Raised where a save or a read ends with an error."""


class WriteDenied(Exception):
    """Raised where hestia says that its token may only read, and goes on without saving."""


@dataclass
class Hestia:
    server: str
    token: str
    urls: dict[str, str] = field(default_factory=dict)
    """Download URLs by key. hestia keeps each for ten minutes, which no test takes."""
    lookups: int = 0

    # ---------------------------------------------------------------- packs and manifests

    def save_pack(self, data: bytes) -> str:
        """Save a pack under the name of its contents, or note its use if it is there, and return the key."""
        key = f"pack-{hashlib.sha256(data).hexdigest()}"
        url = self.reserve(key)
        if url is not None:
            self.upload(key, url, data)
        elif (found := self.look_up(key)) is not None:
            _ranged(get(found[0], 0, 1), 0, 1)
        return key

    def read(self, key: str, start: int, end: int) -> bytes | None:
        """Read these bytes of a pack, or return None if the pack is gone, in which case Nix builds by itself.

        Raises:
            HestiaFails: anything but exactly these bytes came as such.
        """
        reply = self._read(key, start, end)
        if reply is not None and reply.status in (401, 403, 404):
            self.urls.pop(key)
            reply = self._read(key, start, end)
        return None if reply is None else _ranged(reply, start, end)

    def _read(self, key: str, start: int, end: int) -> Reply | None:
        if key not in self.urls:
            found = self.look_up(key)
            if found is None:
                return None
            self.urls[key] = found[0]
        return get(self.urls[key], start, end)

    def load_manifest(self) -> tuple[int, bytes] | None:
        """Return number and contents of the newest manifest."""
        found = self.look_up(MANIFEST)
        if found is None:
            return None
        url, key = found
        reply = get(url)
        if reply.status != 200:
            raise HestiaFails(f"{reply.status}: {reply.body!r}")
        return _number(key), reply.body

    def save_manifest(self, data: bytes) -> int:
        """Save a manifest under the next free number, and return it."""
        conflicts, dead = 0, 0
        while True:
            newest = self.load_manifest()
            number = max(newest[0] if newest else 0, dead) + 1
            url = self.reserve(f"{MANIFEST}{number}")
            if url is not None:
                self.upload(f"{MANIFEST}{number}", url, data)
                return number
            conflicts += 1
            if conflicts == STALE_AFTER:
                conflicts, dead = 0, number

    # ---------------------------------------------------------------- the cache service

    def reserve(self, key: str) -> str | None:
        """Reserve the key, and return the upload URL, or None if the key exists.

        Raises:
            WriteDenied: the token may only read.
            HestiaFails: the answer is another error.
        """
        answer = self._call("CreateCacheEntry", {"key": key})
        if answer.get("code") == "already_exists":
            return None
        if not _is_ok(answer):
            # Any other denial would be taken for a key that exists.
            if str(answer.get("message", "")).startswith("cache write denied:"):
                raise WriteDenied(answer["message"])
            return None
        return _text(answer, "signed_upload_url")

    def upload(self, key: str, url: str, data: bytes) -> None:
        headers = {**AZURE, "x-ms-blob-type": "BlockBlob"}
        put = send("PUT", url, data, headers)
        if put.status // 100 != 2:
            raise HestiaFails(f"{put.status}: {put.body!r}")
        finalized = self._call("FinalizeCacheEntryUpload", {"key": key, "size_bytes": len(data)})
        if not _is_ok(finalized):
            raise HestiaFails(f"{key} isn't finalized: {finalized}")
        _text(finalized, "entry_id")

    def look_up(self, key: str) -> tuple[str, str] | None:
        """Return URL and matched key; None for a miss."""
        self.lookups += 1
        answer = self._call("GetCacheEntryDownloadURL", {"key": key, "restore_keys": [key]})
        if not _is_ok(answer):
            return None
        return _text(answer, "signed_download_url"), _text(answer, "matched_key")

    def _call(self, method: str, message: Mapping[str, Any]) -> dict[str, Any]:
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.token}", "accept": "*/*"}
        body = json.dumps({**message, "version": VERSION}).encode()
        reply = send("POST", f"{self.server}/twirp/{SERVICE}/{method}", body, headers)
        answer: dict[str, Any] = reply.json
        if reply.status // 100 != 2 and answer.get("code") not in ("already_exists", "not_found"):
            raise HestiaFails(f"{reply.status}: {answer}")
        return answer


def get(url: str, start: int | None = None, end: int | None = None) -> Reply:
    """GET the blob, or a range of it. Redirects are followed with the same headers, as by reqwest."""
    headers = AZURE if start is None or end is None else {**AZURE, "range": f"bytes={start}-{end - 1}"}
    reply = send("GET", url, headers=headers)
    return send("GET", reply.headers["Location"], headers=headers) if reply.status == 302 else reply


def _ranged(reply: Reply, start: int, end: int) -> bytes:
    if reply.status != 206 or len(reply.body) != end - start:
        raise HestiaFails(f"{reply.status} with {len(reply.body)} bytes to bytes {start} to {end}")
    return reply.body


def _is_ok(answer: Mapping[str, Any]) -> bool:
    return answer.get("ok") is True


def _text(answer: Mapping[str, Any], name: str) -> str:
    value = answer.get(name, "")
    if not isinstance(value, str) or not value:
        raise HestiaFails(f"{name} is {value!r}")
    return value


def _number(key: str) -> int:
    number = key.removeprefix(MANIFEST)
    if number == key or not number.isdecimal():
        raise HestiaFails(f"{key} has no number")
    return int(number)


# ---------------------------------------------------------------- its garbage collection


@dataclass(frozen=True)
class Collector:
    """`hestia gc`, which lists and deletes by GitHub's REST API.

    Args:
        api: GITHUB_API_URL.
        repository: GITHUB_REPOSITORY.
        token: GITHUB_TOKEN.
    """

    api: str
    repository: str
    token: str

    def list(self, prefix: str) -> list[Any]:
        """Return all caches whose keys begin so."""
        found: list[Any] = []
        while True:
            page = len(found) // 100 + 1
            query = {"per_page": 100, "page": page, "sort": "created_at", "direction": "asc"}
            if prefix:
                query["key"] = prefix
            caches = self._ask("GET", query)
            found += caches["actions_caches"]
            if len(caches["actions_caches"]) < 100:
                return found

    def delete(self, key: str) -> int:
        """Delete the key in all refs, and return how many there were."""
        return len(self._ask("DELETE", {"key": key}, none={"actions_caches": []})["actions_caches"])

    def _ask(self, method: str, query: Mapping[str, Any], none: Any = None) -> Any:
        headers = {
            "authorization": f"Bearer {self.token}",
            "accept": "application/vnd.github+json",
            "x-github-api-version": "2022-11-28",
            "user-agent": "hestia",
        }
        url = f"{self.api}/repos/{self.repository}/actions/caches?{urlencode(query)}"
        reply = send(method, url, headers=headers)
        if reply.status == 404 and none is not None:
            return none
        if reply.status != 200:
            raise HestiaFails(f"{reply.status}: {reply.body!r}")
        return reply.json
