"""A cold start imports what its function uses, and nothing of another's; and leaves little to the first request."""

import subprocess
import sys

import boto3
import pytest

from actions_cache.domain.signed_url import Direction
from actions_cache.wiring.data import DataPlane
from dev.local.template import ROOT
from tests.conftest import SparingSession
from tests.support.journey import Journey, name

USECASES = "actions_cache.usecases."
OF_ONE = {
    "api": {"reserve", "finalize", "look_up", "download"},
    "download": {"download"},
    "manage": {"delete_entries", "match"},
    "merge": {"merge"},
    "cleanup": {"clean_up", "find_orphans", "migrate"},
}
"""Use cases that the one function has, and the others no use for. The older protocol has its downloads at the API."""


@pytest.mark.parametrize("function", OF_ONE)
def test_a_function_loads_its_own_use_cases_and_no_others(function: str):
    code = f"import functions.{function}.handler, sys; print(*sys.modules)"
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'layers' / 'core'}", "POWERTOOLS_SERVICE_NAME": "test"}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    loaded = {module.removeprefix(USECASES) for module in ran.stdout.split() if module.startswith(USECASES)}
    others = set().union(*(OF_ONE[other] for other in OF_ONE if other != function)) - OF_ONE[function]
    assert loaded >= OF_ONE[function]
    assert not loaded & others


def test_no_request_makes_a_client_once_the_function_is_connected(on_moto: Journey, monkeypatch: pytest.MonkeyPatch):
    data = DataPlane(on_moto.control)
    data.connect()
    made: list[object] = []
    monkeypatch.setattr(boto3.Session, "client", lambda *asked, **_: made.append(asked))
    monkeypatch.setattr(SparingSession, "client", boto3.Session.client)
    assert on_moto.control.urls.sign(Direction.UPLOAD, on_moto.reserve(name("entry")), on_moto.clock.now())
    assert data.download.reader == data.stream
    assert data.receive_part.writer == data.stream
    assert not made
