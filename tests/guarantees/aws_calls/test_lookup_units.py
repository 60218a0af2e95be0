"""A lookup is counted by one write unit, its key's family included, and a hit by one more, on DynamoDB Local."""

import boto3
import pytest

from actions_cache.domain.key_family import MAX_PAIRS
from dev.clients.driver import CacheDriver, name
from dev.emulation.dynamodb_local import DynamoDbLocal
from dev.emulation.dynamodb_usage import metered
from dev.local.template import Template
from tests.guarantees.test_single_merge import on_dynamodb_local

LOOKUPS = {
    "exact hit": (("npm-1",), [1, 1]),
    "hit of another family": (("go-1", "npm-"), [1, 1]),
    "miss": (("pip-1",), [1]),
}
"""Keys, and the write units of each update."""


@pytest.mark.long
def test_families_add_no_write_unit_to_a_lookup(
    on_emulators: CacheDriver,
    emulator_session: boto3.Session,
    template: Template,
    monkeypatch: pytest.MonkeyPatch,
    dynamodb_local: DynamoDbLocal,
    subtests: pytest.Subtests,
):
    for variable, value in dynamodb_local.environment.items():
        monkeypatch.setenv(variable, value)
    driver = on_dynamodb_local(on_emulators, emulator_session, template)
    driver.save(name("npm-1"), b"content")

    def count(when: str) -> None:
        for what, (keys, units) in LOOKUPS.items():
            with subtests.test(f"{what} {when}"), metered(driver.services) as requests:
                driver.look_up(*keys)
                assert [request.units for request in requests if request.operation == "UpdateItem"] == units

    count("of new families")
    count("of known families")
    for number in range(MAX_PAIRS):
        driver.look_up(f"family-{'x' * number}")
    driver.clock.advance(3600)
    for number in range(MAX_PAIRS):
        driver.look_up(f"family-{'x' * number}")
    count("of families beyond the bound")
