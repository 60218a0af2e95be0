"""A job's part of the conversation: twirp and Azure's uploads (docs/design/protocol.md#cache-service and #uploads)."""

import base64
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape

from actions_cache_cli.deployment_check.explain import explain
from actions_cache_cli.deployment_check.verdicts import Failed
from actions_cache_cli.deployment_check.wire import Client, Reply

SERVICE = "/twirp/github.actions.results.api.v1.CacheService/"
VERSION = "verify-deployment"

PLAIN_READER = "@actions/cache-6.3.0 verify-deployment"
"""Such clients are sent to S3 as soon as there is one object."""
SEEKING_READER = "verify-deployment"
"""A client nobody knows may send x-ms-range, so it is never sent to S3 itself."""

OK, CREATED = 200, 201


@dataclass(frozen=True)
class Job:
    client: Client
    base: str
    token: str

    def call(self, method: str, message: Mapping[str, Any], user_agent: str = PLAIN_READER) -> Reply:
        """Raises: NoAnswer."""
        return post(self.client, self.base, method, message, self.token, user_agent)

    def reserve(self, key: str) -> str:
        """The upload URL. Raises: NoAnswer, Failed."""
        answer = message_of(self.call("CreateCacheEntry", {"key": key, "version": VERSION}))
        if not answer.get("ok"):
            raise Failed(
                f"the server reserves no key: {answer.get('message')!r}; a token of a pull request from a fork may "
                "only read, so take one of a push"
            )
        return _text(answer, "signed_upload_url")

    def finalize(self, key: str, size: int) -> Reply:
        """Raises: NoAnswer."""
        # A string, as @actions/cache sends it.
        return self.call("FinalizeCacheEntryUpload", {"key": key, "version": VERSION, "size_bytes": str(size)})

    def look_up(self, key: str, user_agent: str = PLAIN_READER) -> dict[str, Any]:
        """The answer's message. Raises: NoAnswer, Failed."""
        return message_of(self.call("GetCacheEntryDownloadURL", {"key": key, "version": VERSION}, user_agent))

    def download_url(self, key: str, user_agent: str = PLAIN_READER) -> str:
        """Raises: NoAnswer, Failed."""
        answer = self.look_up(key, user_agent)
        if not answer.get("ok") or answer.get("matched_key") != key:
            raise Failed(
                f"the lookup of the saved key answers {json.dumps(answer)[:200]}, not a hit of that key; if it was "
                "saved, its objects are gone from the bucket"
            )
        return _text(answer, "signed_download_url")


def _text(answer: Mapping[str, Any], name: str) -> str:
    """Raises Failed."""
    value = answer.get(name)
    if not isinstance(value, str) or "?" not in value:
        raise Failed(f"{name} is {value!r}; it must be a URL with a query, in snake_case JSON")
    return value


def post(client: Client, base: str, method: str, message: Mapping[str, Any], token: str, user_agent: str) -> Reply:
    """Raises: NoAnswer."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "User-Agent": user_agent}
    return client.send("POST", f"{base}{SERVICE}{method}", json.dumps(message).encode(), headers)


def message_of(reply: Reply) -> dict[str, Any]:
    """A twirp answer's message. Raises Failed for anything else."""
    try:
        message = json.loads(reply.body) if reply.status == OK else None
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise Failed(explain(reply.status, reply.headers, reply.body))
    return message


def put_block(client: Client, url: str, block_id: str, body: bytes, headers: Mapping[str, str] | None = None) -> Reply:
    """Raises: NoAnswer."""
    return client.send("PUT", f"{url}&comp=block&blockid={quote(block_id, safe='')}", body, headers)


def put_block_list(client: Client, url: str, block_ids: Sequence[str]) -> Reply:
    """Raises: NoAnswer."""
    rows = "".join(f"<Latest>{escape(block_id)}</Latest>" for block_id in block_ids)
    body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{rows}</BlockList>'.encode()
    return client.send("PUT", f"{url}&comp=blocklist", body)


def plain_block_id(number: int) -> str:
    """As @actions/cache makes them: base64 of 48 characters, so of letters and digits only."""
    return base64.b64encode(f"{secrets.token_hex(18)}{number:012d}".encode()).decode()


def hard_block_id() -> str:
    """With every character that base64 has beside letters and digits, as random ids of OpenDAL and sccache have."""
    return base64.b64encode(b"\xfb\xff\xbe" + secrets.token_bytes(13)).decode()
