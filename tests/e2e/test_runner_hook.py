"""runners/hook.cjs with the real @actions/cache: a job whose variables lead to GitHub saves and restores here."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from actions_cache_cli.doctor.job import GITHUBS
from dev.clients.actions_cache import NEWEST, VERSION_3, ActionsCache, Outcome
from dev.clients.runtime_token import runtime_token
from dev.local.template import ROOT

MIB = 1024 * 1024


@dataclass(frozen=True)
class HookedJob(ActionsCache):
    """Runs on a runner with the hook: the runner sets the usual variables to GitHub's, and its .env has two more."""

    def _environment(self) -> dict[str, str]:
        usual = super()._environment()
        githubs: dict[str, str] = {
            name: GITHUBS for name in ("ACTIONS_RESULTS_URL", "ACTIONS_CACHE_URL") if name in usual
        }
        hook = {"NODE_OPTIONS": f"--require {ROOT / 'runners' / 'hook.cjs'}", "CUSTOM_ACTIONS_RESULTS_URL": self.server}
        return {**usual, **githubs, **hook}


@pytest.fixture
def by_v2(server: str, repository: str, tmp_path: Path) -> HookedJob:
    return HookedJob(server, tmp_path, runtime_token(repository=repository), NEWEST)


@pytest.fixture
def by_v1(server: str, repository: str, tmp_path: Path) -> HookedJob:
    token = runtime_token(repository=repository)
    return HookedJob(server, tmp_path, token, VERSION_3, api="v1", chunk_bytes=MIB)


def asked(*outcomes: Outcome) -> set[str]:
    return {urlsplit(request.url).hostname or "" for outcome in outcomes for request in outcome.requests}


@pytest.mark.parametrize(("job", "parts"), [("by_v2", 1), ("by_v1", 4)])
def test_hooked_job_uses_only_this_server(job: str, parts: int, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    hooked: HookedJob = request.getfixturevalue(job)
    content = os.urandom(3 * MIB)
    (tmp_path / "data").write_bytes(content)
    saved = hooked.save(["data"], "hooked")
    (tmp_path / "data").unlink()
    restored = hooked.restore(["data"], "hooked")
    assert restored.result == "hooked", restored.log
    assert (tmp_path / "data").read_bytes() == content
    assert len(saved.parts) == parts
    assert len(restored.downloads) >= 1
    assert asked(saved, restored) == {"127.0.0.1"}
