"""Answers what the local run handles itself: other hosts, `/health` while it starts, writes to a full store."""

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actions_cache.http.errors import GITHUB_REST, Answer
from dev.local.console import NOTHING_SAVED
from dev.local.edge.app import in_dialect, send_answer
from dev.local.emulators import disk_shortage
from dev.local.options import STARTING, is_loopback
from functions.api.health import Health

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REPORT_SECONDS = 60
"""Seconds until the same reason is reported again."""

WRITING = frozenset({"PUT", "POST", "PATCH"})

PROBE = "health/probe"
"""Key beside `archives/`, the only prefix that cleanup lists."""

AZURE_BLOBS = ".blob.core.windows.net"
"""Suffix of hosts from which @actions/cache restores in segments. A machine may resolve one to itself, to try that.
A page can't, since Azure alone has DNS for these names."""

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::\d{0,5})?")


@dataclass
class Front:
    """Answers in place of the edge where the edge can't know.

    Args:
        app: The edge.
        hosts: Hosts that are answered.
        ready_file: File that exists while the run can be used; None if it always can.
        store_fault: Tests the store when a write failed, and for `/health`: returns why it takes no object, or None.
        report: Is called with the reason when nothing can be saved.
    """

    app: ASGIApp
    hosts: "Hosts"
    ready_file: Path | None
    store_fault: Callable[[], str | None]
    report: Callable[[str], None]
    _reported: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._store_health = Health(self._store_faults)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        hosts = request.headers.getlist("host")
        if not self.hosts.admit(hosts):
            await send_answer(send, misdirected(request.url.path, ", ".join(hosts)))
        elif (scope["method"], scope["path"]) == ("GET", "/health"):
            await self._health(scope, receive, send)
        elif scope["method"] in WRITING:
            await self.app(scope, receive, self._explaining(scope["path"], send))
        else:
            await self.app(scope, receive, send)

    async def _health(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the findings of the functions and of the run."""
        caught: list[Message] = []

        async def keep(message: Message) -> None:
            caught.append(message)

        await self.app(scope, receive, keep)
        try:
            found: dict[str, Any] = json.loads(b"".join(message.get("body", b"") for message in caught))
            faults = {**found["faults"], **await self._store_health.faults()}
        except (ValueError, KeyError, TypeError):
            for message in caught:
                await send(message)
            return
        if self.ready_file is not None and not self.ready_file.exists():
            faults[STARTING] = f"it is starting or stopping: {self.ready_file} isn't there"
        body = json.dumps({**found, "ok": not faults, "faults": faults}).encode()
        status = HTTPStatus.SERVICE_UNAVAILABLE if faults else HTTPStatus.OK
        await send_answer(send, Answer(status, body, {"Content-Type": "application/json", "Cache-Control": "no-store"}))

    def _explaining(self, path: str, send: Send) -> Send:
        """Return a `send` that replaces a server error for want of room by an answer that says so."""
        replaced = False

        async def explain(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and message["status"] >= HTTPStatus.INTERNAL_SERVER_ERROR:
                reason = await run_in_threadpool(self.store_fault)
                if reason is not None:
                    replaced = True
                    self._report(reason)
                    await send_answer(send, full(path, reason))
            if not replaced:
                await send(message)

        return explain

    def _store_faults(self) -> Mapping[str, str]:
        reason = self.store_fault()
        return {} if reason is None else {"store": reason}

    def _report(self, reason: str) -> None:
        now = time.monotonic()
        if now - self._reported.get(reason, float("-inf")) > REPORT_SECONDS:
            self._reported[reason] = now
            self.report(reason)


@dataclass(frozen=True)
class Hosts:
    """Decides which hosts the local run answers to.

    Signatures aren't checked here. A page whose own name resolves to 127.0.0.1 (DNS rebinding) could read the cache and
    write into it with tokens that it made up; but its browser still sends that name as Host.

    Args:
        bound: Address that is served on. If other machines can reach it, all hosts are answered: tokens are verified,
            so another name gains nothing, and the machine's names aren't known here.
        public_url: URL of a proxy in front, whose host is answered too.
    """

    bound: str
    public_url: str | None = None

    def admit(self, hosts: Iterable[str]) -> bool:
        """Return whether a request with these Host headers is answered, on any port, since a proxy may have another."""
        names = [found["name"].lower() if (found := _HOST.fullmatch(host)) else "" for host in hosts]
        if not is_loopback(self.bound):
            return True
        return bool(names) and all(map(self._is_ours, names))

    def _is_ours(self, name: str) -> bool:
        public = urlsplit(self.public_url or "").hostname
        return is_loopback(name) or name.endswith(AZURE_BLOBS) or name.strip("[]") == public


@dataclass(frozen=True)
class WritableStore:
    """Tests whether the store takes objects, by writing one.

    Args:
        client: Client of the store.
        bucket: Name of the bucket.
        directory: Directory of the emulator on this machine; None for a store that was named.
    """

    client: "S3Client"
    bucket: str
    directory: Path | None

    def fault(self) -> str | None:
        """Return why the store takes no object, or None. Raise nothing."""
        try:
            if self.directory is not None and (shortage := disk_shortage(self.directory)) is not None:
                return shortage
            self.client.put_object(Bucket=self.bucket, Key=PROBE, Body=b"probe")
            self.client.delete_object(Bucket=self.bucket, Key=PROBE)
        except (ClientError, BotoCoreError, OSError) as error:
            log = f"; see {self.directory.parent / 'logs' / 'seaweedfs.log'}" if self.directory else ""
            return f"the store takes no object ({error}){log}"
        return None


def misdirected(path: str, host: str) -> Answer:
    """Return the refusal of a host, in the dialect of the path's clients."""
    message = (
        f"this is a local run, for 127.0.0.1, localhost and [::1] alone, not {host[:100]!r}; "
        "behind a proxy, set PUBLIC_URL to the URL that clients use"
    )
    status = HTTPStatus.MISDIRECTED_REQUEST
    return _in_dialect(path, status, "permission_denied", "InvalidHostName", message)


def full(path: str, reason: str) -> Answer:
    """Return the answer to a write when the store is full; no client retries after it."""
    status = HTTPStatus.INSUFFICIENT_STORAGE
    return _in_dialect(path, status, "resource_exhausted", "InsufficientStorage", f"{NOTHING_SAVED}: {reason}")


def _in_dialect(path: str, status: int, twirp_code: str, code: str, message: str) -> Answer:
    if path == "/":
        return GITHUB_REST.error(status, twirp_code, message)
    return in_dialect(path, status, message, twirp_code, code, code, uuid4().hex)
