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
from dev.local import emulators
from dev.local.emulators import Endpoints
from dev.local.resources import Clients, Resources, create
from dev.local.template import Template
from dev.services import AllServices
from tests.support.journey import Journey, SetClock

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
def models_are_read_once() -> Iterator[None]:
    """AWS's models are megabytes of JSON, which botocore reads anew in each session, of which pynamodb makes many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.session.create_loader", cache(create_loader))
        yield


@pytest.fixture(scope="session")
def template() -> Template:
    return Template.load()


class SparingSession(boto3.Session):
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
    return SparingSession(
        CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1"
    )


def settings_for(environment: dict[str, str], **changes: str) -> Settings:
    """As a function reads them from its environment."""
    values = {name.lower(): value for name, value in environment.items()}
    return Settings.model_validate({name: value for name, value in (values | changes).items() if value})


def environment(resources: Resources) -> dict[str, str]:
    """Of all functions that a journey goes through."""
    return resources.environment("ApiFunction") | resources.environment("ManageFunction")


@pytest.fixture
def journey(on_moto: Journey) -> Journey:
    """Use cases on moto, in process: for rules, not for races."""
    return on_moto


@pytest.fixture
def on_moto(template: Template, boto_session: boto3.Session) -> Iterator[Journey]:
    with moto_journey(template, boto_session) as journey:
        yield journey


@pytest.fixture(scope="module")
def of_the_module(template: Template, boto_session: boto3.Session) -> Iterator[Journey]:
    """Resources that a module's tests share: making them takes longer than most tests."""
    with moto_journey(template, boto_session) as journey:
        yield journey


@pytest.fixture
def emptied(of_the_module: Journey) -> Journey:
    """As `journey`, on the module's resources, with nothing in the tables and the queues."""
    of_the_module.forget_everything()
    return of_the_module


@contextmanager
def moto_journey(template: Template, session: boto3.Session) -> Iterator[Journey]:
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for variable, value in CREDENTIALS.items():
            patch.setenv(variable, value)
        clients = Clients.of(session)
        resources = create(template, clients)
        clock = SetClock()
        services = AllServices(settings_for(environment(resources)), clock)
        services.session = session
        yield Journey(services, clock, clients.s3, clients.sqs)


@pytest.fixture(scope="session")
def endpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    """Real engines, for bytes, races and time-outs."""
    with emulators.start(tmp_path_factory.mktemp("engines")) as running:
        yield running


@pytest.fixture(scope="session")
def engine_session(endpoints: Endpoints) -> boto3.Session:
    keys = endpoints.credentials
    return boto3.Session(keys.access_key_id, keys.secret_access_key, region_name=endpoints.region)


@pytest.fixture
def on_engines(
    endpoints: Endpoints, engine_session: boto3.Session, template: Template, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Journey]:
    """As `journey`, with resources of its own on real engines."""
    for variable, value in endpoints.environment().items():
        monkeypatch.setenv(variable, value)
    clients = Clients.of(engine_session)
    resources = create(template, clients, prefix=f"test-{uuid.uuid4().hex[:8]}")
    # Lambda's limits aren't these engines'; and less read ahead than an archive is long.
    changes = {"stream_max_bytes": "", "read_ahead_bytes": str(8 * MIB)}
    settings = settings_for(environment(resources), **changes)
    clock = SetClock()
    services = AllServices(settings, clock)
    services.session = engine_session
    yield Journey(services, clock, clients.s3, clients.sqs)
    # SeaweedFS gives each bucket volumes of its own, until the disk has no room for more.
    clients.s3.delete_bucket(Bucket=settings.bucket)
