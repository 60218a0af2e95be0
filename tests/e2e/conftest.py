"""Servers, each the local run as a user starts it, and jobs that talk to them."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dev.clients.actions_cache import NEWEST, ActionsCache, Package
from dev.clients.local_server import running_server
from dev.clients.runtime_token import runtime_token
from dev.clients.wire import Job, put_blob

IMPATIENT_SECONDS = 3
"""Longer than a save of a few bytes takes on a busy machine."""


@pytest.fixture(scope="session")
def server_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="session")
def server(server_directory: Path) -> Iterator[str]:
    """The server as it comes: it merges what was finalized at once."""
    with running_server(server_directory) as url:
        yield url


@pytest.fixture(scope="session")
def unmerged_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Nothing is ever merged here: every archive of several blocks stays in parts."""
    with running_server(tmp_path_factory.mktemp("unmerged"), {"LOCAL_MERGE_WORKERS": "0"}) as url:
        yield url


@pytest.fixture(scope="session")
def impatient_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Reservations and URLs live for three seconds here."""
    lifetimes = dict.fromkeys(
        ("RESERVATION_SECONDS", "UPLOAD_URL_SECONDS", "DOWNLOAD_URL_SECONDS"), str(IMPATIENT_SECONDS)
    )
    with running_server(tmp_path_factory.mktemp("impatient"), lifetimes) as url:
        put_blob(Job(url).reserve("the first one, which takes its time"), b"")
        yield url


@pytest.fixture
def repository() -> str:
    """One of its own for each test, so that no other test's entries match."""
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
    """A job's @actions/cache, its workspace the test's directory."""

    def client(server: str, package: Package = NEWEST, token: str | None = None) -> ActionsCache:
        return ActionsCache(server, tmp_path, token or runtime_token(repository=repository), package)

    return client
