"""The real try, with the job's token: look up what isn't there, and save and restore a little."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from actions_cache_cli.doctor.address import Address, NotAUrl
from actions_cache_cli.doctor.finding import Finding, ok, quoted, trouble, unknown, warning
from actions_cache_cli.doctor.server import NO_CONTENT, OK_STATUS, SERVICE, UNAUTHENTICATED, V1, explain
from actions_cache_cli.doctor.wire import NoAnswer, Reply, Wire

CREATED = 201
SAVED_BYTES = 65536
MAX_REDIRECTS = 3

USER_AGENT = "@actions/cache-6.3.0 (actions-cache-doctor)"
"""The server gives each kind of client the URL it can read from (docs/design/protocol.md#x-ms-range); most jobs use
this one."""

LOOKUP = "lookup"
LOOKUP_V1 = "lookup by v1"
SAVE = "save and restore"

HINTS = {
    401: "; the token must be this job's own, whole",
    403: "; the token's scopes, or the server's rule of whose jobs it is for (TOKEN_CLAIMS)",
    503: "; try again, then see /health",
}


class Refused(Exception):
    """A step of the way didn't go as it must. The message says which and why."""


@dataclass
class Journey:
    wire: Wire
    server: Address
    token: str
    key: str = field(default_factory=lambda: f"actions-cache-doctor-{secrets.token_hex(8)}")

    @property
    def version(self) -> str:
        """Of no other client's entries."""
        return hashlib.sha256(b"actions-cache-doctor").hexdigest()

    def judge_lookup(self) -> Finding:
        """A miss is right: nobody has saved this key."""
        try:
            said = self._call("GetCacheEntryDownloadURL", key=self.key, restore_keys=[])
        except (Refused, NoAnswer) as fault:
            return trouble(LOOKUP, str(fault))
        if said.get("ok"):
            return trouble(LOOKUP, f"an entry was found for a key that nobody saved: {quoted(json.dumps(said))}")
        return ok(LOOKUP, "the server takes the token, and a key that nobody saved is a miss")

    def judge_lookup_by_v1(self, *, is_used: bool) -> Finding:
        """The same question, as @actions/cache 3 puts it.

        Args: is_used: whether this job's clients go by v1; else its trouble isn't theirs.
        """
        asked = urlencode({"keys": self.key, "version": self.version})
        headers = {"Accept": "application/json;api-version=6.0-preview.1", "User-Agent": "actions/cache"}
        try:
            reply = self.wire.ask("GET", f"{self.server.base}{V1}cache?{asked}", None, headers | self._authorization)
        except NoAnswer as fault:
            found = str(fault)
        else:
            if reply.status == NO_CONTENT:
                return ok(LOOKUP_V1, "a key that nobody saved is a miss there too")
            found = f"the v1 API must answer 204 to a key that nobody saved, not {_explained(reply)}"
        if is_used:
            return trouble(LOOKUP_V1, found)
        return warning(LOOKUP_V1, f"{found}; this job doesn't go by v1, those of GHES, Gitea and act do")

    def judge_save(self) -> Finding:
        content = os.urandom(SAVED_BYTES)
        try:
            self._save(content)
            found = self._restored()
        except (Refused, NoAnswer, NotAUrl) as fault:
            return trouble(SAVE, str(fault))
        if found != content:
            return trouble(SAVE, f"{len(found)} bytes came back for {len(content)} saved, and not the same ones")
        return ok(
            SAVE,
            f"{len(content)} bytes came back as they were saved; the entry {self.key} stays until the server's cleanup "
            "removes it as unused",
        )

    def _save(self, content: bytes) -> None:
        """Raises: Refused, NoAnswer, NotAUrl."""
        url = _granted(self._call("CreateCacheEntry", key=self.key), "signed_upload_url", "reserving the key")
        put = self.wire.ask("PUT", url, content, {"x-ms-blob-type": "BlockBlob"})
        if put.status != CREATED:
            raise Refused(f"the upload to {urlsplit(url).netloc} got {explain(put)}, not 201")
        size = str(len(content))
        _granted(self._call("FinalizeCacheEntryUpload", key=self.key, size_bytes=size), "entry_id", "finalizing")

    def _restored(self) -> bytes:
        """Raises: Refused, NoAnswer, NotAUrl."""
        found = self._call("GetCacheEntryDownloadURL", key=self.key, restore_keys=[])
        url = _granted(found, "signed_download_url", "looking the saved entry up")
        got = self.wire.ask("GET", url)
        for _ in range(MAX_REDIRECTS):
            if "location" not in got.headers:
                break
            url = got.headers["location"]
            got = self.wire.ask("GET", url)
        if got.status == OK_STATUS:
            return got.body
        raise Refused(
            f"the download from {urlsplit(url).netloc}, a host that jobs must reach too, got {explain(got)}, not 200"
        )

    def _call(self, method: str, **message: Any) -> dict[str, Any]:
        """Raises: Refused, NoAnswer."""
        reply = self.ask(method, message)
        if reply.status != OK_STATUS:
            raise Refused(f"{method} gets {_explained(reply)}")
        if "ok" not in reply.json:
            raise Refused(f"{method} gets what isn't its answer: {explain(reply)}")
        return reply.json

    def ask(self, method: str, message: dict[str, Any]) -> Reply:
        """Raises: NoAnswer."""
        body = json.dumps({"version": self.version, **message}).encode()
        headers = {"Content-Type": "application/json", "User-Agent": USER_AGENT}
        return self.wire.ask("POST", f"{self.server.base}{SERVICE}{method}", body, headers | self._authorization)

    @property
    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


def _explained(reply: Reply) -> str:
    """With what to do, where it is this server that answers, or its API."""
    return f"{explain(reply)}{_hint(reply) if reply.json else ''}"


def _hint(reply: Reply) -> str:
    """Return a hint by the status and, for a refused token, by the server's message."""
    said = str(reply.json.get("msg") or reply.json.get("message") or "").lower()
    if reply.status == UNAUTHENTICATED and "expired" in said:
        return "; a token ends with its job: run this in one that is running"
    if reply.status == UNAUTHENTICATED and "issuer" in said:
        return "; the server must know the token's issuer (TOKEN_ISSUERS)"
    return HINTS.get(reply.status, "")


def _granted(said: dict[str, Any], name: str, doing: str) -> str:
    """Raises: Refused."""
    if not said.get("ok") or not said.get(name):
        raise Refused(f"{doing} was refused: {quoted(str(said.get('message') or said))}")
    return str(said[name])


def not_tried(why: str) -> Finding:
    return unknown(SAVE, why)
