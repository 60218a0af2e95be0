"""runners/hook.cjs with the real @actions/cache: a job whose variables lead to GitHub saves and restores here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from doctor.variable import GITHUBS
from tests.clients.actions_cache import NEWEST, VERSION_3, ActionsCache, Outcome, Package
from tests.clients.job_variables import Api
from tests.clients.runtime_token import runtime_token
from tests.clients.server import ROOT

CONTENT = b"saved by way of the hook"


@dataclass(frozen=True)
class HookedJob(ActionsCache):
    """On a runner with the hook: the runner sets the usual variables to GitHub's, and its .env has two more."""

    def _environment(self) -> dict[str, str]:
        usual = super()._environment()
        githubs: dict[str, str] = {
            name: GITHUBS for name in ("ACTIONS_RESULTS_URL", "ACTIONS_CACHE_URL") if name in usual
        }
        hook = {"NODE_OPTIONS": f"--require {ROOT / 'runners' / 'hook.cjs'}", "CUSTOM_ACTIONS_RESULTS_URL": self.server}
        return {**usual, **githubs, **hook}


@pytest.fixture
def hooked(server: str, repository: str, tmp_path: Path) -> Callable[[Package, Api], HookedJob]:
    def job(package: Package, api: Api) -> HookedJob:
        (tmp_path / "data").write_bytes(CONTENT)
        return HookedJob(server, tmp_path, runtime_token(repository=repository), package, api=api)

    return job


def asked(*outcomes: Outcome) -> set[str]:
    return {urlsplit(request.url).hostname or "" for outcome in outcomes for request in outcome.requests}


def test_a_hooked_job_saves_and_restores_at_the_server_alone(
    hooked: Callable[[Package, Api], HookedJob], tmp_path: Path
) -> None:
    job = hooked(NEWEST, "v2")
    saved = job.save(["data"], "hooked")
    (tmp_path / "data").unlink()
    restored = job.restore(["data"], "hooked")
    assert restored.result == "hooked", restored.log
    assert (tmp_path / "data").read_bytes() == CONTENT
    assert asked(saved, restored) == {"127.0.0.1"}


def test_a_hooked_job_of_the_v1_api_asks_the_server_too(hooked: Callable[[Package, Api], HookedJob]) -> None:
    assert asked(hooked(VERSION_3, "v1").restore(["data"], "hooked")) == {"127.0.0.1"}
