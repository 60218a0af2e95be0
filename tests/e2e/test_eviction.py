"""A pull request that saves as fast as it may leaves the default branch's entries alone, on real emulators."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from dev.clients.local_server import running_server
from dev.clients.runtime_token import DEFAULT_BRANCH, READ, READ_WRITE, runtime_token
from dev.clients.wire import Job
from tests.support.shared_stacks import SharedStacks

MB = 10**6
PULL_REQUEST = "refs/pull/7/merge"
AT_ONCE = 6


@pytest.fixture(scope="session")
def full_server(stacks: SharedStacks) -> str:
    """Return the URL of a server that keeps 10 MB of a repository, and cleans up every second."""
    settings = {"REPOSITORY_BUDGET_BYTES": str(10 * MB), "CLEANUP_INTERVAL_SECONDS": "1"}
    return stacks.start("full", running_server, settings)


@pytest.mark.slow
def test_flooding_pull_request_keeps_its_floor_and_main_everything(full_server: str, repository: str) -> None:
    main = Job(full_server, runtime_token([(DEFAULT_BRANCH, READ_WRITE)], repository))
    pull = Job(full_server, runtime_token([(PULL_REQUEST, READ_WRITE), (DEFAULT_BRANCH, READ)], repository))
    contents = {f"main-{number}": os.urandom(MB) for number in range(9)}
    for key, content in contents.items():
        main.save(key, content)

    def flood(number: int) -> None:
        pull.save(f"flood-{number}", bytes(9 * MB if number % 5 == 0 else MB))

    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(flood, range(30)))
    assert {key: main.restore(key).body == content for key, content in contents.items()} == dict.fromkeys(
        contents, True
    )
    last = os.urandom(MB)
    pull.save("last", last)
    assert pull.restore("last").body == last
    assert main.look_up("main-0")["ok"]
