"""The hook is served as runners/ has it: without a token, with its checksum, and never as a page of this origin."""

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from actions_cache.http.app import new_app
from actions_cache.http.headers import INERT_HEADERS
from dev.clients.wire import send
from dev.emulation.asgi_server import served
from dev.local.template import ROOT
from functions.api import hook
from tests.support.fakes import RecordingTelemetry

SOURCE = ROOT / "runners" / "hook.cjs"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    app = new_app(RecordingTelemetry())
    app.include_router(hook.router)
    with served(app) as url:
        yield url


def test_deployed_hook_equals_runners_copy(url: str) -> None:
    assert hook.FILE.read_bytes() == SOURCE.read_bytes(), f"cp {SOURCE} {hook.FILE}"
    assert hook.FILE.parent == ROOT / "functions" / "api", "which is all that the function's package has"
    assert not hook.FILE.is_symlink(), "a checkout on Windows, and `sam build --use-container`, would lose its target"
    for refused in ("POST /runner/hook.cjs", "GET /runner/hook.json", "GET /runner/", "GET /runner/hook.cjs/x"):
        method, path = refused.split()
        assert send(method, url + path).status in (404, 405), refused


def test_hook_checksum_matches(url: str, tmp_path: Path) -> None:
    fetched, checksum = send("GET", f"{url}/runner/hook.cjs"), send("GET", f"{url}/runner/hook.cjs.sha256")
    assert (fetched.status, fetched.body) == (200, SOURCE.read_bytes())
    assert checksum.body.decode() == f"{hashlib.sha256(fetched.body).hexdigest()}  hook.cjs\n"
    (tmp_path / "hook.cjs").write_bytes(fetched.body)
    (tmp_path / "hook.cjs.sha256").write_bytes(checksum.body)
    subprocess.run(["sha256sum", "--check", "--strict", "hook.cjs.sha256"], cwd=tmp_path, check=True)


@pytest.mark.parametrize(("path", "media_type"), [("hook.cjs", "text/javascript"), ("hook.cjs.sha256", "text/plain")])
def test_hook_is_inert_and_cached_for_minutes(url: str, path: str, media_type: str) -> None:
    got, head = (send(method, f"{url}/runner/{path}") for method in ("GET", "HEAD"))
    expected = {
        **INERT_HEADERS,
        "Content-Type": f"{media_type}; charset=utf-8",
        "Cache-Control": "public, max-age=300",
        "Content-Length": str(len(got.body)),
    }
    for reply in (got, head):
        assert {name: reply.headers.get_all(name) for name in expected} == {name: [it] for name, it in expected.items()}
    assert head.body == b""
