"""Requests and units of lookups and saves among 100 entries and among 100,000, by DynamoDB Local's count.

It counts nothing for what isn't there; DynamoDB itself takes a unit for each request, or item of a batch, that finds
nothing (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html).
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from actions_cache.aws.dynamodb_items import entry_attributes
from actions_cache.domain.entry import Entry
from dev.bench.environment import Emulators, Row, running_driver
from dev.clients.driver import SCOPE, CacheDriver, name
from dev.emulation import dynamodb_local
from dev.emulation.dynamodb_usage import TableRequest, metered

FEW, MANY = 100, 100_000

PULL_REQUEST = ("refs/pull/7/merge", "refs/heads/develop", SCOPE)
FIVE = tuple(f"none-{number}-" for number in range(5))
EXACT = "npm-exact"
"""Key of the newest entry; those of add_entries are older, and their keys begin likewise."""

LOOKUPS: Mapping[str, tuple[tuple[str, ...], dict[str, Any], dict[str, int]]] = {
    "exact hit": ((EXACT,), {}, {"BatchGetItem": 1, "GetItem": 1, "UpdateItem": 2}),
    "exact hit in the first of three scopes": (
        (EXACT, *FIVE),
        {"scopes": PULL_REQUEST[::-1]},
        {"BatchGetItem": 1, "GetItem": 1, "UpdateItem": 2},
    ),
    "exact hit in the last of three scopes": (
        (EXACT,),
        {"scopes": PULL_REQUEST},
        {"BatchGetItem": 1, "Query": 2, "GetItem": 1, "UpdateItem": 2},
    ),
    "hit by a prefix that ten have": (
        ("npm-000000",),
        {},
        {"BatchGetItem": 1, "Query": 1, "GetItem": 1, "UpdateItem": 2},
    ),
    "hit by a prefix that all have": (("npm-",), {}, {"BatchGetItem": 1, "Query": 2, "GetItem": 1, "UpdateItem": 2}),
    "miss, with 5 restore keys over 3 scopes": (
        ("none", *FIVE),
        {"scopes": PULL_REQUEST},
        {"BatchGetItem": 1, "Query": 18, "UpdateItem": 1},
    ),
}
"""Keys, other arguments, and the table requests that the lookup takes; GetItem reads the archive, the updates count."""


def lookups(emulators: Emulators, _rounds: int) -> Iterator[Row]:
    with (
        tempfile.TemporaryDirectory() as directory,
        dynamodb_local.running(Path(directory)) as table,
        running_driver(emulators, **table.environment) as driver,
    ):
        archive_id = driver.save(name(EXACT), b"content").archive_id
        add_entries(driver, archive_id, 0, FEW)
        among_few = _costs(driver, "save-1")
        add_entries(driver, archive_id, FEW, MANY - FEW)
        among_many = _costs(driver, "save-2")
        for what, few in among_few.items():
            yield Row(what, f"{few} among {FEW}", f"{among_many[what]} among {MANY:,}", None, "the same")


def _costs(driver: CacheDriver, new_key: str) -> dict[str, str]:
    found = {}
    for what, (keys, changes, _) in LOOKUPS.items():
        with metered(driver.services) as requests:
            driver.look_up(*keys, **changes)
        found[f"lookup: {what}"] = _sum(requests)
    with metered(driver.services) as requests:
        driver.save(name(new_key), b"one", b"two")
    found["save of two blocks"] = _sum(requests)
    return found


def _sum(requests: Sequence[TableRequest]) -> str:
    return f"{len(requests)} requests, {sum(request.units for request in requests):g} units"


def add_entries(driver: CacheDriver, archive_id: str, first: int, count: int) -> None:
    """Add entries of one archive that are older than it."""
    model = driver.services.table._entries
    with model.batch_write() as batch:
        for number in range(first, first + count):
            entry = Entry(name(f"npm-{number:07d}"), archive_id, 1, driver.clock.now() - 1_000_000 + number)
            batch.save(model(**entry_attributes(entry)))
