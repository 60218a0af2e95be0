"""What lookups and saves ask the table among 100 entries and among 100,000, in read units as DynamoDB Local reckons.

It reckons nothing for what isn't there; DynamoDB itself takes a unit for each request, or item of a batch, that finds
nothing (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html).
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from dev.bench.environment import Store
from dev.bench.lookups import EXACT, LOOKUPS, add_entries
from dev.bench.row import Row
from dev.bench.workbench import workbench
from dev.clients.driver import CacheDriver, name
from dev.emulation.dynamodb_usage import metered
from tests.guarantees import dynamodb_local

FEW, MANY = 100, 100_000


def lookups(store: Store, _rounds: int) -> Iterator[Row]:
    with (
        tempfile.TemporaryDirectory() as directory,
        dynamodb_local.running(Path(directory)) as table,
        workbench(store, **table.environment) as bench,
    ):
        driver = bench.driver
        archive_id = driver.save(name(EXACT), b"content").archive_id
        add_entries(driver, archive_id, 0, FEW)
        among_few = costs(driver, "save-1")
        add_entries(driver, archive_id, FEW, MANY - FEW)
        among_many = costs(driver, "save-2")
        for what, few in among_few.items():
            yield Row(what, f"{few} among {FEW}", f"{among_many[what]} among {MANY:,}", None, "the same")


def costs(driver: CacheDriver, new_key: str) -> dict[str, str]:
    found = {}
    for what, (keys, changes, _) in LOOKUPS.items():
        with metered(driver.services) as asked:
            driver.look_up(*keys, **changes)
        found[f"lookup: {what}"] = f"{len(asked)} requests, {sum(one.units for one in asked):g} units"
    with metered(driver.services) as asked:
        driver.save(name(new_key), b"one", b"two")
    found["save of two blocks"] = f"{len(asked)} requests, {sum(one.units for one in asked):g} units"
    return found
