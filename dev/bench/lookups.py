"""What lookups and saves ask the table among 100 entries and among 100,000, in read units as DynamoDB Local reckons.

It reckons nothing for what isn't there; DynamoDB itself takes a unit for each request, or item of a batch, that finds
nothing (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html).
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from dev.bench.row import Row
from dev.bench.scene import Store
from dev.bench.workbench import workbench
from tests.guarantees.slow.races import dynamodb_local
from tests.support.journey import Journey, name
from tests.support.many_entries import EXACT, LOOKUPS, add_entries
from tests.support.metering import metered

FEW, MANY = 100, 100_000


def lookups(store: Store, _rounds: int) -> Iterator[Row]:
    with (
        tempfile.TemporaryDirectory() as directory,
        dynamodb_local.running(Path(directory)) as table,
        workbench(store, **table.environment) as bench,
    ):
        journey = bench.journey
        archive_id = journey.save(name(EXACT), b"content").archive_id
        add_entries(journey, archive_id, 0, FEW)
        among_few = costs(journey, "save-1")
        add_entries(journey, archive_id, FEW, MANY - FEW)
        among_many = costs(journey, "save-2")
        for what, few in among_few.items():
            yield Row(what, f"{few} among {FEW}", f"{among_many[what]} among {MANY:,}", None, "the same")


def costs(journey: Journey, new_key: str) -> dict[str, str]:
    found = {}
    for what, (keys, changes, _) in LOOKUPS.items():
        with metered(journey.services) as asked:
            journey.look_up(*keys, **changes)
        found[f"lookup: {what}"] = f"{len(asked)} requests, {sum(one.units for one in asked):g} units"
    with metered(journey.services) as asked:
        journey.save(name(new_key), b"one", b"two")
    found["save of two blocks"] = f"{len(asked)} requests, {sum(one.units for one in asked):g} units"
    return found
