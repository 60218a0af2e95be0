"""Local runs behind AWS's caps; before the store of one of them stands a proxy that counts."""

import uuid
from collections.abc import Callable, Iterator
from typing import NamedTuple

import boto3
import pytest

from actions_cache.settings import Settings
from dev.clients.driver import CacheDriver, SetClock
from dev.emulation.api_gateway import LocalRun, local_run
from dev.emulation.proxy import StoreProxy
from dev.local import emulators
from dev.local.resources import Clients
from dev.services import AllServices


@pytest.fixture(scope="session")
def unmerged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRun]:
    """Start a local run without merge workers."""
    with local_run(tmp_path_factory.mktemp("unmerged"), {"LOCAL_MERGE_WORKERS": "0"}) as run:
        yield run


@pytest.fixture
def repository() -> str:
    """Return the id of a repository that only one test uses."""
    return str(uuid.uuid4().int % 10**12)


@pytest.fixture
def stored(unmerged: LocalRun, monkeypatch: pytest.MonkeyPatch) -> Iterator[CacheDriver]:
    """Provide the store of `unmerged`, without its server."""
    for name, value in unmerged.variables().items():
        monkeypatch.setenv(name, value)
    clients = Clients.of(boto3.Session())
    yield CacheDriver(AllServices(Settings()), SetClock(), clients.s3, clients.sqs)
    clients.s3.close()
    clients.sqs.close()


@pytest.fixture
def merge_all(stored: CacheDriver) -> Callable[[], object]:
    """Return a function that does the merge workers' work, since `unmerged` has none."""
    return stored.merge_all


class Counted(NamedTuple):
    run: LocalRun
    store: StoreProxy


@pytest.fixture(scope="session")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counted]:
    """Start a local run that merges, behind a proxy that counts the store's traffic."""
    with emulators.start(tmp_path_factory.mktemp("emulators")) as endpoints:
        store = StoreProxy(endpoints.store)
        with (
            store.served() as url,
            local_run(tmp_path_factory.mktemp("merging"), endpoints.settings_with_store(url)) as run,
        ):
            yield Counted(run, store)
