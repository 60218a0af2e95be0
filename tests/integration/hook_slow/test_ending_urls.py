"""A restore that takes longer than its URL lives, from the local run, by the whole client with the hook."""

import asyncio
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from actions_cache_cli.doctor.job import GITHUBS
from dev.clients.actions_cache import ActionsCache
from dev.clients.local_server import running_server
from dev.clients.runtime_token import runtime_token
from dev.emulation.proxy import StoreProxy, answer_of, end_to_end
from dev.local import emulators
from tests.support.hooked_downloads import install_hook

MB = 1000 * 1000
URL_SECONDS = 5
CAP = 1 * MB
"""Bytes a second of each connection: eight of them don't bring the archive within the life of its URL."""
SIZE = 40 * MB


@dataclass
class CappedStore(StoreProxy):
    """Paces what goes to clients, and notes when each request came, by its URL's end."""

    ranges: list[tuple[str, float]] = field(default_factory=list)
    """Range of each request by a presigned URL, and the seconds that its URL had left."""

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.method != "GET" or "X-Amz-Expires" not in request.query:
            return await super()._handle(request)
        signed_at = time.strptime(f"{request.query['X-Amz-Date']} UTC", "%Y%m%dT%H%M%SZ %Z")
        left = time.mktime(signed_at) - time.timezone + int(request.query["X-Amz-Expires"]) - time.time()
        self.ranges.append((request.headers.get("Range", ""), left))
        async with answer_of(self.store, request, None, self._session) as answer:
            response = web.StreamResponse(status=answer.status, headers=end_to_end(answer.headers))
            await response.prepare(request)
            async for chunk in answer.content.iter_chunked(64 * 1024):
                await response.write(chunk)
                await asyncio.sleep(len(chunk) / CAP)
            return response


@pytest.fixture
def capped(tmp_path: Path) -> Iterator[tuple[CappedStore, str]]:
    """Start a local run whose store is capped, and provide both."""
    with emulators.start(tmp_path / "emulators") as endpoints:
        store = CappedStore(endpoints.store)
        with store.served() as url:
            settings = {**endpoints.settings_with_store(url), "DOWNLOAD_URL_SECONDS": str(URL_SECONDS)}
            with running_server(tmp_path / "run", settings) as server:
                yield store, server


@dataclass(frozen=True)
class HookedJob(ActionsCache):
    hook: Path = Path()

    def _environment(self) -> dict[str, str]:
        hooked = {"ACTIONS_RESULTS_URL": GITHUBS, "NODE_OPTIONS": f"--require {self.hook}"}
        return {**super()._environment(), **hooked}


def test_restore_outlasts_its_url(capped: tuple[CappedStore, str], tmp_path: Path) -> None:
    store, server = capped
    workspace, token = tmp_path / "work", runtime_token()
    workspace.mkdir()
    hook = install_hook(tmp_path / "hook", server, scale=1)
    content = os.urandom(SIZE)
    (workspace / "data").write_bytes(content)
    job = HookedJob(server, workspace, token, hook=hook)
    assert job.save(["data"], "key").result
    (workspace / "data").unlink()
    restored = job.restore(["data"], "key")
    assert restored.result == "key", restored.log
    assert (workspace / "data").read_bytes() == content
    assert restored.seconds > URL_SECONDS, "the URL outlived the restore"
    assert store.ranges[0][0] == ""
    assert len([asked for asked, _ in store.ranges if not asked.endswith("-")]) >= 8, "it was no fast restore"
    assert [asked for asked, _ in store.ranges if asked.endswith("-")], "nothing brought the rest"
    assert min(left for _, left in store.ranges) > 0, store.ranges
