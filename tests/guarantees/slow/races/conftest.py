"""The use cases on DynamoDB Local, with the other engines as ever."""

import uuid
from collections.abc import Iterator

import boto3
import pytest

from dev.local.emulators import Endpoints
from dev.local.resources import Clients, create
from dev.local.template import Template
from dev.services import AllServices
from tests.conftest import settings_for
from tests.guarantees.slow.races.dynamodb_local import CannotRun, DynamoDbLocal, running
from tests.support.journey import Journey, SetClock


@pytest.fixture(scope="session")
def dynamodb_local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DynamoDbLocal]:
    try:
        with running(tmp_path_factory.mktemp("dynamodb-local")) as engine:
            yield engine
    except CannotRun as missing:
        pytest.skip(f"THE RACES WERE NOT RUN on DynamoDB Local: {missing}")


@pytest.fixture
def on_dynamodb_local(
    dynamodb_local: DynamoDbLocal,
    endpoints: Endpoints,
    engine_session: boto3.Session,
    template: Template,
    monkeypatch: pytest.MonkeyPatch,
) -> Journey:
    for variable, value in (endpoints.environment() | dynamodb_local.environment).items():
        monkeypatch.setenv(variable, value)
    clients = Clients.of(engine_session)
    resources = create(template, clients, prefix=f"race-{uuid.uuid4().hex[:8]}")
    clock = SetClock()
    services = AllServices(settings_for(resources.environment("ApiFunction")), clock)
    services.session = engine_session
    return Journey(services, clock, clients.s3, clients.sqs)
