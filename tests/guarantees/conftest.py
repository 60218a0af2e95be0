"""The option `--long`, and fixtures that several of the guarantees' tests share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
import urllib3

from dev.clients.driver import CacheDriver
from dev.emulation import dynamodb_local as emulator
from dev.local.emulators import Endpoints
from dev.local.template import Template
from tests.guarantees.crashes.environment import CrashEnvironment, crash_environment, lead_to_emulators
from tests.guarantees.faults.environment import faulty_store
from tests.guarantees.faults.store import FaultyStore
from tests.guarantees.isolation import VerifiedServer, now, verified_server

LONG_TIMEOUT_SECONDS = 2 * 3600
"""Timeout of each test with `--long`. Less: large models fail by it. More: a test that hangs is seen late."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the guarantees' tests at full size, for over an hour")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: runs only with --long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = [item for item in items if Path(__file__).parent in item.path.parents]
    if config.getoption("--long", default=False):
        for item in ours:
            item.add_marker(pytest.mark.timeout(LONG_TIMEOUT_SECONDS))
        return
    deselected = {item for item in ours if item.get_closest_marker("long")}
    if deselected:
        config.hook.pytest_deselected(items=list(deselected))
        items[:] = [item for item in items if item not in deselected]


@pytest.fixture(scope="session")
def is_long(pytestconfig: pytest.Config) -> bool:
    """Return whether tests run at full size: more rounds, examples and points."""
    return bool(pytestconfig.getoption("--long", default=False))


@pytest.fixture(scope="session")
def dynamodb_local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[emulator.DynamoDbLocal]:
    try:
        with emulator.running(tmp_path_factory.mktemp("dynamodb-local")) as running:
            yield running
    except emulator.CannotRun as missing:
        pytest.skip(f"THE RACES WERE NOT RUN on DynamoDB Local: {missing}")


@pytest.fixture
def get() -> Iterator[Callable[..., urllib3.BaseHTTPResponse]]:
    """Return a GET that follows no redirect and reads no body by itself."""
    with urllib3.PoolManager() as http:

        def get(url: str, **headers: str) -> urllib3.BaseHTTPResponse:
            named = {header.replace("_", "-"): value for header, value in headers.items()}
            return http.request("GET", url, headers=named, redirect=False, retries=False, preload_content=False)

        yield get


@pytest.fixture
def faulty(on_emulators: CacheDriver, endpoints: Endpoints) -> Iterator[FaultyStore]:
    with faulty_store(endpoints) as store:
        yield store


@pytest.fixture(scope="session")
def crash_environment_of_all(
    endpoints: Endpoints, emulator_session: boto3.Session, template: Template, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CrashEnvironment]:
    with crash_environment(endpoints, emulator_session, template, tmp_path_factory.mktemp("crashes")) as environment:
        yield environment


@pytest.fixture
def environment(
    crash_environment_of_all: CrashEnvironment, endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> Iterator[CrashEnvironment]:
    """Provide resources for crashes, with a server that never crashes, and empty them afterwards."""
    lead_to_emulators(endpoints, monkeypatch)
    yield crash_environment_of_all
    crash_environment_of_all.empty()


@pytest.fixture(scope="module")
def server_of_the_module(
    template: Template, endpoints: Endpoints, emulator_session: boto3.Session
) -> Iterator[VerifiedServer]:
    with verified_server(template, endpoints, emulator_session) as server:
        yield server


@pytest.fixture
def server(server_of_the_module: VerifiedServer) -> VerifiedServer:
    """Provide the module's server that verifies tokens, with its clock set to the present."""
    server_of_the_module.driver.clock.at = now()
    return server_of_the_module
