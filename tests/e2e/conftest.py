"""Servers, each the local run as a user starts it, shared by all workers, and jobs that talk to them."""

import uuid
from pathlib import Path

import pytest

from dev.clients.local_server import running_server
from dev.clients.runtime_token import runtime_token
from dev.clients.wire import Job
from tests.support.fake_results_service import server_with_results_service
from tests.support.shared_stacks import SharedStacks


@pytest.fixture(scope="session")
def server_directory(stacks: SharedStacks) -> Path:
    return stacks.directory_of("server")


@pytest.fixture(scope="session")
def server(stacks: SharedStacks) -> str:
    """Return the URL of the server as it comes: it merges what was finalized at once."""
    return stacks.start("server", running_server)


@pytest.fixture(scope="session")
def unmerged_server_and_port(stacks: SharedStacks) -> tuple[str, int]:
    return stacks.start("unmerged", server_with_results_service, {"LOCAL_MERGE_WORKERS": "0"})


@pytest.fixture(scope="session")
def unmerged_server(unmerged_server_and_port: tuple[str, int]) -> str:
    """Return the URL of a server without merges: every archive of several blocks stays in parts."""
    return unmerged_server_and_port[0]


@pytest.fixture(scope="session")
def results_service_port(unmerged_server_and_port: tuple[str, int]) -> int:
    """Return the port of the results service that the server without merges forwards to; a test may listen there."""
    return unmerged_server_and_port[1]


def new_repository() -> str:
    """Return a repository of which nobody else has entries."""
    return str(uuid.uuid4().int % 10**12)


@pytest.fixture
def repository() -> str:
    """Return a repository of the test's own, so that no other test's entries match."""
    return new_repository()


@pytest.fixture
def job(server: str, repository: str) -> Job:
    return Job(server, runtime_token(repository=repository))


@pytest.fixture
def unmerged_job(unmerged_server: str, repository: str) -> Job:
    return Job(unmerged_server, runtime_token(repository=repository))
