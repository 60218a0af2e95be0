"""Servers, each the local run as a user starts it, shared by all workers, and jobs that talk to them."""

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from dev.clients.actions_cache import NEWEST, ActionsCache, Package
from dev.clients.local_server import running_server
from dev.clients.runtime_token import runtime_token
from dev.clients.wire import Job, put_blob
from tests.support.shared_stacks import SharedStacks

IMPATIENT_SECONDS = 3
"""Longer than a save of a few bytes takes on a busy machine."""


@pytest.fixture(scope="session")
def server_directory(stacks: SharedStacks) -> Path:
    return stacks.directory_of("server")


@pytest.fixture(scope="session")
def server(stacks: SharedStacks) -> str:
    """Return the URL of the server as it comes: it merges what was finalized at once."""
    return stacks.start("server", running_server)


@pytest.fixture(scope="session")
def unmerged_server(stacks: SharedStacks) -> str:
    """Return the URL of a server without merges: every archive of several blocks stays in parts."""
    return stacks.start("unmerged", running_server, {"LOCAL_MERGE_WORKERS": "0"})


@pytest.fixture(scope="session")
def impatient_server(stacks: SharedStacks) -> str:
    """Return the URL of a server whose reservations and URLs live for three seconds."""
    lifetimes = dict.fromkeys(
        ("RESERVATION_SECONDS", "UPLOAD_URL_SECONDS", "DOWNLOAD_URL_SECONDS"), str(IMPATIENT_SECONDS)
    )
    url = stacks.start("impatient", running_server, lifetimes)
    # The first upload takes its time.
    put_blob(Job(url).reserve(f"warm-up {uuid.uuid4()}"), b"")
    return url


@pytest.fixture
def repository() -> str:
    """Return a repository of the test's own, so that no other test's entries match."""
    return str(uuid.uuid4().int % 10**12)


@pytest.fixture
def job(server: str, repository: str) -> Job:
    return Job(server, runtime_token(repository=repository))


@pytest.fixture
def unmerged_job(unmerged_server: str, repository: str) -> Job:
    return Job(unmerged_server, runtime_token(repository=repository))


@pytest.fixture
def impatient_job(impatient_server: str, repository: str) -> Job:
    return Job(impatient_server, runtime_token(repository=repository))


@pytest.fixture
def actions_cache(tmp_path: Path, repository: str) -> Callable[..., ActionsCache]:
    """Return a job's @actions/cache, with the test's directory as its workspace."""

    def client(server: str, package: Package = NEWEST, token: str | None = None) -> ActionsCache:
        return ActionsCache(server, tmp_path, token or runtime_token(repository=repository), package)

    return client
