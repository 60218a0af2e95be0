"""A job on a runner with the hook, between a cache server of a test's own and a stand-in for GitHub's service."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.clients.actions_cache import NEWEST
from tests.support.fake_cache_server import FakeCacheServer, fake_cache_server
from tests.support.hooked_job import HookedJob, action_variables, install_hook

TOKEN = "a job's token"


@pytest.fixture
def ours() -> Iterator[FakeCacheServer]:
    with fake_cache_server() as server:
        yield server


@pytest.fixture
def github() -> Iterator[FakeCacheServer]:
    with fake_cache_server() as server:
        yield server


@pytest.fixture
def hook(tmp_path: Path, ours: FakeCacheServer) -> Path:
    return install_hook(tmp_path / "hook", f"{ours.url}/")


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """Return the job's directory for temporary files."""
    path = tmp_path / ".runner-temp"
    path.mkdir()
    return path


@pytest.fixture
def memory(temporary: Path) -> Path:
    """Return the file by which processes of the job remember whether the server is there."""
    return temporary / ".actions-cache-hook"


@pytest.fixture
def variables(hook: Path, temporary: Path, github: FakeCacheServer) -> dict[str, str]:
    """Return the variables of an action's process."""
    return action_variables(hook, temporary, ACTIONS_RESULTS_URL=f"{github.url}/")


@pytest.fixture
def job(hook: Path, temporary: Path, github: FakeCacheServer, tmp_path: Path) -> HookedJob:
    (tmp_path / "data").write_bytes(b"1" * 1000)
    assert temporary.parent == tmp_path
    return HookedJob(github.url, tmp_path, TOKEN, NEWEST, hook=hook)
