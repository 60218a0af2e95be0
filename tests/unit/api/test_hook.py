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

SOURCES = ROOT / "runners"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    app = new_app(RecordingTelemetry())
    app.include_router(hook.router)
    with served(app) as url:
        yield url


def test_all_of_the_hook_is_served() -> None:
    assert {path.name for path in SOURCES.glob("*.cjs")} == set(hook.NAMES)


@pytest.mark.parametrize("name", hook.NAMES)
def test_deployed_hook_equals_runners_copy(name: str) -> None:
    deployed = ROOT / "functions" / "api" / name
    assert deployed.read_bytes() == (SOURCES / name).read_bytes(), f"cp {SOURCES / name} {deployed}"
    assert not deployed.is_symlink(), "a checkout on Windows, and `sam build --use-container`, would lose its target"


@pytest.mark.parametrize("name", hook.NAMES)
def test_hook_checksum_matches(url: str, tmp_path: Path, name: str) -> None:
    fetched, checksum = send("GET", f"{url}/runner/{name}"), send("GET", f"{url}/runner/{name}.sha256")
    assert (fetched.status, fetched.body) == (200, (SOURCES / name).read_bytes())
    assert checksum.body.decode() == f"{hashlib.sha256(fetched.body).hexdigest()}  {name}\n"
    (tmp_path / name).write_bytes(fetched.body)
    (tmp_path / "sum").write_bytes(checksum.body)
    subprocess.run(["sha256sum", "--check", "--strict", "sum"], cwd=tmp_path, check=True)


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        (f"{name}{end}", kind)
        for name in hook.NAMES
        for end, kind in (("", "text/javascript"), (".sha256", "text/plain"))
    ],
)
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


@pytest.mark.parametrize(
    "request_line",
    [
        "POST /runner/hook.cjs",
        "GET /runner/hook.json",
        "GET /runner/",
        "GET /runner/hook.cjs/x",
        "GET /runner/x.cjs",
        "GET /runner/..%2fhook.cjs",
        "GET /runner/x.cjs.sha256",
    ],
)
def test_unknown_hook_path_or_method_is_refused(url: str, request_line: str) -> None:
    method, path = request_line.split()
    assert send(method, url + path).status in (404, 405)
