"""Answers requests for other machines' names, during the start, and with a full store itself."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actions_cache.http import artifact_cache, azure, github, twirp
from actions_cache.http.answer import Answer
from dev.local.console import mention
from dev.local.env_file import STARTING
from dev.local.hosts import Hosts
from functions.api.health import Health

SAID_AGAIN_SECONDS = 60
"""Seconds until the terminal is told the same again."""

WRITING = frozenset({"PUT", "POST", "PATCH"})


class Store(Protocol):
    def fault(self) -> str | None:
        """Return why the store takes no object, or None. It may block, and raises nothing."""
        ...


@dataclass
class Front:
    """Answers in place of the edge where the edge can't know.

    Args:
        app: the edge.
        hosts: names that are answered.
        ready_file: a file that exists while the run can be used; None if it always can.
        store: the store to ask when a write failed, and for `/health`.
        terminal: file descriptor of the user's terminal.
    """

    app: ASGIApp
    hosts: Hosts
    ready_file: Path | None
    store: Store
    terminal: int
    _said: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._store_health = Health(self._store_faults)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        hosts = request.headers.getlist("host")
        if not self.hosts.admit(hosts):
            await _answer(send, misdirected(request.url.path, ", ".join(hosts)))
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
            said: dict[str, Any] = json.loads(b"".join(message.get("body", b"") for message in caught))
            faults = {**said["faults"], **await self._store_health.faults()}
        except (ValueError, KeyError, TypeError):
            for message in caught:
                await send(message)
            return
        if self.ready_file is not None and not self.ready_file.exists():
            faults[STARTING] = f"it is starting or stopping: {self.ready_file} isn't there"
        body = json.dumps({**said, "ok": not faults, "faults": faults}).encode()
        status = HTTPStatus.SERVICE_UNAVAILABLE if faults else HTTPStatus.OK
        await _answer(send, Answer(status, body, {"Content-Type": "application/json", "Cache-Control": "no-store"}))

    def _explaining(self, path: str, send: Send) -> Send:
        """Send an answer on, unless it is a server's error for want of room: then say that instead."""
        replaced = False

        async def explain(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and message["status"] >= HTTPStatus.INTERNAL_SERVER_ERROR:
                fault = await run_in_threadpool(self.store.fault)
                if fault is not None:
                    replaced = True
                    self._tell(fault)
                    await _answer(send, full(path, fault))
            if not replaced:
                await send(message)

        return explain

    def _store_faults(self) -> Mapping[str, str]:
        fault = self.store.fault()
        return {} if fault is None else {"store": fault}

    def _tell(self, fault: str) -> None:
        now = time.monotonic()
        if now - self._said.get(fault, float("-inf")) > SAID_AGAIN_SECONDS:
            self._said[fault] = now
            mention(f"error: nothing can be saved: {fault}", self.terminal)


def misdirected(path: str, host: str) -> Answer:
    """Return the refusal of a name, in the dialect of the path's clients."""
    message = (
        f"this is a local run, for 127.0.0.1, localhost and [::1] alone, not {host[:100]!r}; "
        "behind a proxy, set PUBLIC_URL to the URL that clients ask"
    )
    status = HTTPStatus.MISDIRECTED_REQUEST
    return _in_dialect(path, status, "permission_denied", "InvalidHostName", message)


def full(path: str, fault: str) -> Answer:
    """Return what a writing client is told; no client tries again after this answer."""
    status = HTTPStatus.INSUFFICIENT_STORAGE
    return _in_dialect(path, status, "resource_exhausted", "InsufficientStorage", f"nothing can be saved: {fault}")


def _in_dialect(path: str, status: int, twirp_code: str, azure_code: str, message: str) -> Answer:
    if path.startswith("/blobs/"):
        answer = azure.error(status, azure_code, message)
        return Answer(status, answer.body, {**answer.headers, **azure.base_headers(uuid4().hex)})
    if path.startswith(f"{artifact_cache.ROOT}/"):
        return artifact_cache.error(twirp.error(status, twirp_code, message), message, azure_code)
    if path == "/" or path.startswith(("/manage", "/repos", "/repositories", "/api/v3")):
        return github.error(status, message)
    return twirp.error(status, twirp_code, message)


async def _answer(send: Send, answer: Answer) -> None:
    headers = {**answer.headers, "Content-Length": str(len(answer.body))}
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": int(answer.status), "headers": raw})
    await send({"type": "http.response.body", "body": answer.body})
