"""Single merge: of any number of simultaneous claimers and deliveries, exactly one wins.

On emulators whose writes are atomic, so not on moto. With `--long`, a thousand rounds, on DynamoDB Local too.
"""

import boto3
import pytest

from dev.clients.driver import CacheDriver, settings_for
from dev.local.emulators import Endpoints
from dev.local.resources import Clients, create
from dev.local.template import Template
from dev.services import AllServices
from tests.guarantees.races import RACES, on_real_time, racers

RACERS = 8


@pytest.mark.slow
@pytest.mark.parametrize("emulator", ["ministack", pytest.param("dynamodb_local", marks=pytest.mark.long)])
def test_one_of_many_processes_wins_each_race(
    on_emulators: CacheDriver,
    endpoints: Endpoints,
    emulator_session: boto3.Session,
    template: Template,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    subtests: pytest.Subtests,
    emulator: str,
    is_long: bool,
):
    variables, driver = dict(endpoints.environment()), on_emulators
    if emulator == "dynamodb_local":
        variables |= request.getfixturevalue("dynamodb_local").environment
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", variables["AWS_ENDPOINT_URL_DYNAMODB"])
        driver = on_dynamodb_local(on_emulators, emulator_session, template)
    driver = on_real_time(driver)
    with racers(RACERS, driver.services.settings, variables) as processes:
        for kind, run_race in RACES.items():
            with subtests.test(kind):
                run_race(driver, processes, 1_000 if is_long else 15)


def on_dynamodb_local(on_emulators: CacheDriver, session: boto3.Session, template: Template) -> CacheDriver:
    """Return a driver with tables on DynamoDB Local, as the environment says, and all else on the other emulators."""
    clients = Clients.of(session)
    resources = create(template, clients, prefix="race")
    services = AllServices(settings_for(resources.environment("ApiFunction")), on_emulators.clock)
    services.session = session
    return CacheDriver(services, on_emulators.clock, clients.s3, clients.sqs)
