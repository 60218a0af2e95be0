"""Eight processes, a thousand rounds of each race, on each table engine with atomic conditional writes."""

import pytest

from tests.guarantees.race_rounds import RACES, on_real_time
from tests.guarantees.racers import racers
from tests.guarantees.slow.races.dynamodb_local import DynamoDbLocal
from tests.support.journey import Journey

RACERS, ROUNDS = 8, 1_000


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("race", RACES)
def test_of_processes_on_ministack_one_wins_each_of_a_thousand_rounds(race, on_engines, endpoints):
    run(race, on_real_time(on_engines), endpoints.environment())


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("race", RACES)
def test_of_processes_on_dynamodb_local_one_wins_each_of_a_thousand_rounds(
    race, on_dynamodb_local: Journey, dynamodb_local: DynamoDbLocal, endpoints
):
    run(race, on_real_time(on_dynamodb_local), endpoints.environment() | dynamodb_local.environment)


def run(race: str, journey: Journey, environment: dict[str, str]) -> None:
    with racers(RACERS, journey.services.settings, environment) as processes:
        RACES[race](journey, processes, ROUNDS)
