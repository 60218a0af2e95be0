"""What every test may start from: the template's resources, in process or on real engines."""

import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import boto3
import pytest
from botocore.loaders import create_loader
from hypothesis import settings
from moto import mock_aws

from actions_cache.domain.merge_plan import MIB
from actions_cache.settings import Settings
from dev.clients.driver import CacheDriver, SetClock
from dev.local import emulators
from dev.local.emulators import Endpoints
from dev.local.resources import Clients, Resources, create
from dev.local.template import Template
from dev.services import AllServices

# An example that takes long on a busy machine is no failure of what is tested.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# A shell has what it starts in the background ignore interrupts, and tests' own processes would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "localsecret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
}


@pytest.fixture(scope="session", autouse=True)
def cached_botocore_models() -> Iterator[None]:
    """AWS's models are megabytes of JSON, which botocore reads anew in each session, of which pynamodb makes many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.session.create_loader", cache(create_loader))
        yield


@pytest.fixture(scope="session")
def template() -> Template:
    return Template.load()


class CachingSession(boto3.Session):
    """Makes a client once: under moto one has no state, and each takes some 50 ms to make."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._made: list[tuple[tuple[str, dict[str, Any]], Any]] = []

    def client(self, service: str, **options: Any) -> Any:  # type: ignore[override]
        asked = (service, options)
        for known, client in self._made:
            if known == asked:
                return client
        client = super().client(service, **options)  # type: ignore[call-overload]
        self._made.append((asked, client))
        return client


@pytest.fixture(scope="session")
def boto_session() -> boto3.Session:
    """One for all: each loads AWS's models anew."""
    return CachingSession(
        CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1"
    )


def settings_for(environment: dict[str, str], **changes: str) -> Settings:
    """As a function reads them from its environment."""
    values = {name.lower(): value for name, value in environment.items()}
    return Settings.model_validate({name: value for name, value in (values | changes).items() if value})


def environment(resources: Resources) -> dict[str, str]:
    """Of all functions that a driver goes through."""
    return resources.environment("ApiFunction") | resources.environment("ManageFunction")


@pytest.fixture
def driver(on_moto: CacheDriver) -> CacheDriver:
    """Use cases on moto, in process: for rules, not for races."""
    return on_moto


@pytest.fixture
def on_moto(template: Template, boto_session: boto3.Session) -> Iterator[CacheDriver]:
    with moto_driver(template, boto_session) as driver:
        yield driver


@pytest.fixture(scope="module")
def module_driver(template: Template, boto_session: boto3.Session) -> Iterator[CacheDriver]:
    """Resources that a module's tests share: making them takes longer than most tests."""
    with moto_driver(template, boto_session) as driver:
        yield driver


@pytest.fixture
def emptied_driver(module_driver: CacheDriver) -> CacheDriver:
    """As `driver`, on the module's resources, with nothing in the tables and the queues."""
    module_driver.forget_everything()
    return module_driver


@contextmanager
def moto_driver(template: Template, session: boto3.Session) -> Iterator[CacheDriver]:
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for variable, value in CREDENTIALS.items():
            patch.setenv(variable, value)
        clients = Clients.of(session)
        resources = create(template, clients)
        clock = SetClock()
        services = AllServices(settings_for(environment(resources)), clock)
        services.session = session
        yield CacheDriver(services, clock, clients.s3, clients.sqs)


@pytest.fixture(scope="session")
def endpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    """Real engines, for bytes, races and time-outs."""
    with emulators.start(tmp_path_factory.mktemp("engines")) as running:
        yield running


@pytest.fixture(scope="session")
def emulator_session(endpoints: Endpoints) -> boto3.Session:
    keys = endpoints.credentials
    return boto3.Session(keys.access_key_id, keys.secret_access_key, region_name=endpoints.region)


@pytest.fixture
def on_emulators(
    endpoints: Endpoints, emulator_session: boto3.Session, template: Template, monkeypatch: pytest.MonkeyPatch
) -> Iterator[CacheDriver]:
    """As `driver`, with resources of its own on real engines."""
    for variable, value in endpoints.environment().items():
        monkeypatch.setenv(variable, value)
    clients = Clients.of(emulator_session)
    resources = create(template, clients, prefix=f"test-{uuid.uuid4().hex[:8]}")
    # Lambda's limits aren't these engines'; and less read ahead than an archive is long.
    changes = {"stream_max_bytes": "", "read_ahead_bytes": str(8 * MIB)}
    settings = settings_for(environment(resources), **changes)
    clock = SetClock()
    services = AllServices(settings, clock)
    services.session = emulator_session
    yield CacheDriver(services, clock, clients.s3, clients.sqs)
    # SeaweedFS gives each bucket volumes of its own, until the disk has no room for more.
    clients.s3.delete_bucket(Bucket=settings.bucket)
