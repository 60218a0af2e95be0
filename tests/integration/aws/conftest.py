"""Every contract is tested with moto and with the emulators, on resources that a module's tests share."""

import uuid
from collections.abc import Iterator
from dataclasses import replace

import boto3
import pytest

from dev.clients.driver import CacheDriver, SetClock
from dev.local.template import Template
from dev.services import AllServices
from tests.conftest import moto_driver


@pytest.fixture(scope="module", params=["moto", "emulators"])
def engine(request: pytest.FixtureRequest, template: Template, boto_session: boto3.Session) -> Iterator[CacheDriver]:
    if request.param == "moto":
        with moto_driver(template, boto_session) as driver:
            yield driver
        return
    session = request.getfixturevalue("emulator_session")
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in request.getfixturevalue("endpoints").environment().items():
            patch.setenv(variable, value)
        driver = CacheDriver.create(template, session, f"test-{uuid.uuid4().hex[:8]}")
        yield driver
        driver.forget_everything()
        driver.s3.delete_bucket(Bucket=driver.services.settings.bucket)


@pytest.fixture
def driver(engine: CacheDriver) -> CacheDriver:
    """Provide the module's resources, emptied, and nothing in memory from an earlier test."""
    engine.forget_everything()
    services = AllServices(engine.services.settings, clock := SetClock())
    services.session, services.database = engine.services.session, engine.services.database
    return replace(engine, services=services, clock=clock)
