"""Lists of very many entries and repositories take few requests, on DynamoDB Local."""

import boto3
import pytest

from actions_cache.archives import READING_TIME
from actions_cache.domain.listing import EntryFilter, Order, Page, SortBy
from actions_cache.management_services import ManagementServices
from dev.bench.listings import add_archives, add_repositories
from dev.clients.driver import REPOSITORY, CacheDriver
from dev.emulation.dynamodb_local import DynamoDbLocal
from dev.emulation.dynamodb_usage import metered
from dev.local.template import Template
from tests.guarantees.test_single_merge import on_dynamodb_local

pytestmark = pytest.mark.long

MANY = 1_000


def test_lists_read_pages_and_not_each_item(
    on_emulators: CacheDriver,
    emulator_session: boto3.Session,
    template: Template,
    monkeypatch: pytest.MonkeyPatch,
    dynamodb_local: DynamoDbLocal,
):
    for variable, value in dynamodb_local.environment.items():
        monkeypatch.setenv(variable, value)
    driver = on_dynamodb_local(on_emulators, emulator_session, template)
    management = ManagementServices(driver.services, READING_TIME)
    add_archives(driver, MANY)
    with metered(driver.services) as requests:
        found = management.list_entries(REPOSITORY, EntryFilter(search="099"), Order(SortBy.KEY), Page(1, 30))
    assert found.total == 11
    # A megabyte a page; two classes have no entry.
    assert [request.operation for request in requests] == ["Query"] * 4
    assert sum(request.units for request in requests) < 0.15 * MANY

    add_repositories(driver, MANY)
    assert driver.services.note_usages(lambda: True) == MANY + 1
    with metered(driver.services) as requests:
        overview = management.read_usage.everywhere()
    assert (len(overview.repositories), overview.unread) == (MANY + 1, 0)
    assert [request.operation for request in requests] == ["Query"] * 2, "all repositories, and the store's usage"
    assert sum(request.units for request in requests) < 0.03 * MANY
