"""Fixtures for every test: the template's resources on moto, in process, or on real emulators."""

import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

import boto3
import pytest
from botocore.loaders import create_loader
from hypothesis import settings
from moto import mock_aws
from moto.core.serialize import ResponseSerializer

from actions_cache import activity
from actions_cache.domain.merge_plan import MIB
from dev.clients.driver import CREDENTIALS, CacheDriver, SetClock
from dev.local import emulators
from dev.local.emulators import Endpoints
from dev.local.template import Template
from dev.services import AllServices
from tests.support.cleanup_simulation import OneByOne
from tests.support.shared_stacks import RunningStacks, SharedStacks

STACKS = pytest.StashKey[RunningStacks]()
ADDRESS = pytest.StashKey[str]()

# An example that takes long on a busy machine is no failure.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

# A shell has what it starts in the background ignore interrupts, and tests' own processes would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs emulators, which `make unit` leaves out."""
    for item in items:
        if "endpoints" in getattr(item, "fixturenames", ()):
            item.add_marker("emulator")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell each worker of pytest-xdist where it requests stacks."""
    stash = node.config.stash
    if STACKS not in stash:
        stash[STACKS] = RunningStacks()
        stash[ADDRESS] = stash[STACKS].serve()
    node.workerinput["stacks"] = stash[ADDRESS]


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stop the workers' stacks before their temporary files are removed."""
    if STACKS in session.config.stash:
        session.config.stash[STACKS].stop()


@pytest.fixture(scope="session")
def stacks(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedStacks]:
    """Provide what starts a stack once for all workers."""
    directory = tmp_path_factory.getbasetemp()
    if worker := getattr(pytestconfig, "workerinput", None):
        yield SharedStacks.of_controller(worker["stacks"], directory.parent)
        return
    running = RunningStacks()
    yield SharedStacks(directory, running.start)
    running.stop()


@pytest.fixture(scope="session", autouse=True)
def cached_botocore_models() -> Iterator[None]:
    """Load AWS's models once: megabytes of JSON, which botocore reads anew in each session, and pynamodb makes many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.session.create_loader", cache(create_loader))
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_attribute_values() -> Iterator[None]:
    """Let moto take an item's attributes as they are: it tries many spellings of each type, a quarter of its time."""
    get_value = ResponseSerializer.get_value

    def quickly(self: ResponseSerializer, value: Any, key: str, shape: Any) -> Any:
        parent = getattr(shape, "parent", None)
        if parent is not None and parent.name == "AttributeValue":
            return value.get(key)
        return get_value(self, value, key, shape)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ResponseSerializer, "get_value", quickly)
        yield


@pytest.fixture(scope="session", autouse=True)
def patient_counting() -> Iterator[None]:
    """Let a lookup wait until it is counted, however busy the machine is: tests read the count, or the requests."""
    with pytest.MonkeyPatch.context() as patch:
        for seconds in ("COUNTING_WAIT_SECONDS", "PAIRS_WAIT_SECONDS"):
            patch.setattr(activity, seconds, 60)
        yield


@pytest.fixture(scope="session")
def template() -> Template:
    return Template.load()


class CachingSession(boto3.Session):
    """Makes each client once: on moto a client has no state, and each takes some 50 ms to make."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._made: list[tuple[tuple[str, dict[str, Any]], Any]] = []

    def client(self, service: str, **options: Any) -> Any:  # type: ignore[override]
        wanted = (service, options)
        for known, client in self._made:
            if known == wanted:
                return client
        client = super().client(service, **options)  # type: ignore[call-overload]
        self._made.append((wanted, client))
        return client


@pytest.fixture(scope="session")
def boto_session() -> boto3.Session:
    return CachingSession(
        CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1"
    )


@pytest.fixture
def driver(emptied_driver: CacheDriver) -> CacheDriver:
    """Provide the use cases on moto, in process: for rules, not for races.

    They have the module's resources, emptied, and nothing in memory from an earlier test.
    """
    known, clock = emptied_driver.services, SetClock()
    services = AllServices(known.settings, clock)
    services.session, services.database = known.session, known.database
    # Transactions that moto does at the same time can undo each other.
    services.cleanup_executor = OneByOne()
    return replace(emptied_driver, services=services, clock=clock)


@pytest.fixture
def on_moto(template: Template, boto_session: boto3.Session) -> Iterator[CacheDriver]:
    """Provide the use cases on moto, with resources of the test's own."""
    with moto_driver(template, boto_session) as driver:
        yield driver


@pytest.fixture(scope="module")
def module_driver(template: Template, boto_session: boto3.Session) -> Iterator[CacheDriver]:
    """Provide resources that a module's tests share: making them takes longer than most tests."""
    with moto_driver(template, boto_session) as driver:
        yield driver


@pytest.fixture
def emptied_driver(module_driver: CacheDriver) -> CacheDriver:
    """Provide the module's resources, with nothing in the tables, the queues and the bucket."""
    module_driver.forget_everything()
    return module_driver


@contextmanager
def moto_driver(template: Template, session: boto3.Session) -> Iterator[CacheDriver]:
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for variable, value in CREDENTIALS.items():
            patch.setenv(variable, value)
        yield CacheDriver.create(template, session)


@pytest.fixture(scope="session")
def endpoints(stacks: SharedStacks) -> Endpoints:
    """Start real emulators, for bytes, races and timeouts. All tests share them, each with resources of its own."""
    return stacks.start("emulators", emulators.start)


@pytest.fixture(scope="session")
def emulator_session(endpoints: Endpoints) -> boto3.Session:
    keys = endpoints.credentials
    return boto3.Session(keys.access_key_id, keys.secret_access_key, region_name=endpoints.region)


@pytest.fixture
def on_emulators(
    endpoints: Endpoints, emulator_session: boto3.Session, template: Template, monkeypatch: pytest.MonkeyPatch
) -> Iterator[CacheDriver]:
    """Provide the use cases on real emulators, with resources of their own."""
    for variable, value in endpoints.environment().items():
        monkeypatch.setenv(variable, value)
    prefix = f"test-{uuid.uuid4().hex[:8]}"
    # The emulators have no limits like Lambda's; and less is read ahead than an archive is long.
    changes = {"stream_max_bytes": "", "read_ahead_bytes": str(8 * MIB)}
    driver = CacheDriver.create(template, emulator_session, prefix, **changes)
    yield driver
    # SeaweedFS gives each bucket volumes of its own, until the disk has no room for more.
    driver.s3.delete_bucket(Bucket=driver.services.settings.bucket)
