"""A cold start imports its own function's code only, and makes the clients before the first request."""

import subprocess
import sys

import boto3
import pytest

from actions_cache.domain.signing import Direction
from actions_cache.startup import BY_LAMBDA, make_at_start
from dev.clients.driver import CacheDriver, name
from dev.local.template import ROOT
from tests.conftest import CachingSession

CORE = "actions_cache."
FLOWS = {
    "api": {"save", "lookup", "download"},
    "download": {"download"},
    "manage": {"manage", "explain"},
    "merge": {"merge"},
    "cleanup": {"cleanup", "schema"},
    "rotate": {"rotate"},
}
"""Flows that belong to some functions only. The API needs downloads for the older protocol."""
WEB = {"fastapi", "starlette", "aiohttp", "mangum"}
UNNEEDED = {"merge": WEB, "cleanup": WEB, "rotate": WEB | {"pynamodb", "actions_cache.services"}}


@pytest.mark.parametrize("function", FLOWS)
def test_function_loads_only_its_own_flows(function: str):
    code = f"import functions.{function}.handler, sys; print(*sys.modules)"
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'layers' / 'core'}", "POWERTOOLS_SERVICE_NAME": "test"}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    modules = set(ran.stdout.split())
    loaded = {module.removeprefix(CORE) for module in modules if module.startswith(CORE)}
    others = set().union(*(FLOWS[other] for other in FLOWS if other != function)) - FLOWS[function] - {"schema"}
    assert loaded >= FLOWS[function]
    assert not loaded & others
    assert not modules & UNNEEDED.get(function, set())


def test_connected_function_makes_no_more_clients(on_moto: CacheDriver, monkeypatch: pytest.MonkeyPatch):
    services = on_moto.services
    data = services.downloads
    data.connect()
    made: list[object] = []
    monkeypatch.setattr(boto3.Session, "client", lambda *asked, **_: made.append(asked))
    monkeypatch.setattr(CachingSession, "client", boto3.Session.client)
    assert on_moto.services.urls.sign(Direction.UPLOAD, on_moto.reserve(name("entry")), on_moto.clock.now())
    assert data.download.reader == data.stream
    assert services.receive_part.writer == data.stream
    assert not made


@pytest.mark.parametrize(("type_", "made"), [(None, 0), ("on-demand", 1)])
def test_start_makes_what_requests_need_on_lambda_alone(monkeypatch: pytest.MonkeyPatch, type_: str | None, made: int):
    """If it fails, the requests say why, and not a function that never starts."""
    calls: list[str] = []

    def make() -> None:
        calls.append("made")
        raise ValueError("a setting is wrong")

    monkeypatch.delenv(BY_LAMBDA, raising=False)
    if type_ is not None:
        monkeypatch.setenv(BY_LAMBDA, type_)
    make_at_start(make)
    assert len(calls) == made
