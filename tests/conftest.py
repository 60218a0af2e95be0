"""What every test may start from: the template's resources, in process or on real engines."""

from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws

from actions_cache.settings import Settings
from actions_cache.wiring.control import ControlPlane
from local.resources import Clients, create
from local.template import Template
from tests.journey import Journey, SetClock

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "localsecret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
}


@pytest.fixture(scope="session")
def template() -> Template:
    return Template.load()


@pytest.fixture(scope="session")
def boto_session() -> boto3.Session:
    """One for all: each loads AWS's models anew."""
    return boto3.Session(
        CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1"
    )


def settings_for(environment: dict[str, str], **changes: str) -> Settings:
    """As a function reads them from its environment."""
    values = {name.lower(): value for name, value in environment.items()}
    return Settings.model_validate({name: value for name, value in (values | changes).items() if value})


@pytest.fixture
def journey(template: Template, boto_session: boto3.Session, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journey]:
    """Use cases on moto, in process: for rules, not for races."""
    for variable, value in CREDENTIALS.items():
        monkeypatch.setenv(variable, value)
    with mock_aws():
        clients = Clients.of(boto_session)
        resources = create(template, clients)
        clock = SetClock()
        control = ControlPlane(settings_for(resources.environment("ApiFunction")), clock)
        control.session = boto_session
        yield Journey(control, clock, clients.s3, clients.sqs)
