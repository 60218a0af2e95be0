"""The contract of schema.SchemaVersion, and archives as other releases wrote them."""

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actions_cache import schema
from actions_cache.domain.archive import ArchiveState, MergeState
from actions_cache.domain.budgets import Usage
from actions_cache.domain.entry_class import EntryClass
from actions_cache.domain.schema import KNOWN, Schema
from actions_cache.domain.timing import SECOND
from actions_cache.ports import Unavailable, WriteConflict
from actions_cache.schema import NewerSchema
from dev.clients.driver import CacheDriver, fail, name, plenty
from dev.services import AllServices

FIRST: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "items_of_the_first_commit.json").read_text())
"""Items as the first commit that had tables, 2081364, wrote them. They must never change."""

T = 1_763_900_000 * SECOND
HOUR = 3600 * SECOND


@pytest.fixture(autouse=True)
def no_index_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    """Don't wait for an index, since none lags here."""
    monkeypatch.setattr("actions_cache.usage.INDEX_LAG_SECONDS", 0)


def put(driver: CacheDriver, item: dict[str, Any]) -> str:
    """Write an item as an older release would have, and return the archive's id."""
    services = driver.services
    services.database.connection.dispatch("PutItem", {"TableName": services.settings.archives_table, "Item": item})
    return str(item["archive_id"]["S"])


def due_at(driver: CacheDriver, archive_id: str) -> int:
    return int(driver.services.table._archives.get(archive_id).due_at)


# ------------------------------------------------------------------ the version itself


def test_stale_schema_write_conflicts(driver: CacheDriver):
    schema = driver.services.schema
    assert schema.read() is None
    schema.write(None, Schema(1))
    with pytest.raises(WriteConflict):
        schema.write(None, Schema(1))
    schema.write(Schema(1), Schema(2, 1, "abc"))
    assert schema.read() == Schema(2, 1, "abc")
    with pytest.raises(WriteConflict):
        schema.write(Schema(2, 1), Schema(3))


def test_newer_schema_is_refused(driver: CacheDriver):
    """New tables get the current version; a health check says if it grew."""
    driver.reserve(name("npm"))
    assert (driver.services.schema.read(), driver.services.check_health()) == (Schema(KNOWN), {})
    driver.services.schema.write(Schema(KNOWN), Schema(KNOWN + 1))
    assert "newer release" in driver.services.check_health()["schema"]
    restarted = AllServices(driver.services.settings, driver.clock)
    restarted.session = driver.services.session
    with pytest.raises(NewerSchema, match=f"version {KNOWN + 1}.*knows up to {KNOWN}"):
        restarted.reserve(name("yarn"))
    with pytest.raises(Unavailable, match="deploy the newer release"):
        restarted.clean_up(plenty)


# ------------------------------------------------------------------ items of older releases


def test_first_release_items_are_readable(driver: CacheDriver):
    ids = {kind: put(driver, item) for kind, item in FIRST.items()}
    found = {kind: driver.archive(archive_id) for kind, archive_id in ids.items()}
    assert found["reserved"].state is ArchiveState.RESERVED
    assert found["reserved"].reservation_expires_at == T + HOUR
    assert (found["stored"].commit.size, found["stored"].commit.part_count) == (20_000_000, 2)
    assert found["stored"].name == name("npm-linux")
    assert found["given up and swept"].merge.state is MergeState.FAILED
    assert found["merged"].object is not None
    assert found["merged"].revision == 9


def test_old_failed_merge_is_due_after_migration(driver: CacheDriver):
    """Nothing leaks: the first release's rule came back to them only when the entry expired."""
    archive_id = put(driver, FIRST["given up and swept"])
    before = driver.archive(archive_id)
    done = driver.services.migrate(plenty)
    assert done == {"archives looked at": 1, "archives migrated": 1}
    assert due_at(driver, archive_id) == before.merge.ended_at + driver.services.lifetimes.grace
    assert int(FIRST["given up and swept"]["due_at"]["N"]) > due_at(driver, archive_id)
    assert driver.archive(archive_id).revision == before.revision + 1


def test_migration_adds_old_archives_to_usage(driver: CacheDriver):
    archive_id = put(driver, FIRST["merged"])
    assert list(driver.services.table.stored_archives("42")) == []
    assert driver.services.repositories.ids() == []
    assert driver.services.migrate(plenty) == {"archives looked at": 1, "archives migrated": 1}
    assert [archive.id for archive in driver.services.table.stored_archives("42")] == [archive_id]
    assert driver.services.repositories.ids() == ["42"], "else nothing would ever count it, or evict of it"
    assert driver.services.reconcile_usage("42")
    assert driver.services.repositories.usage("42") == Usage(20_000_000, 1)


def test_migration_skips_current_items_and_runs_once(driver: CacheDriver):
    ids = [driver.reserve(name("yarn"))]
    saved = driver.save(name("npm"), b"a").archive_id
    revisions = {archive_id: driver.archive(archive_id).revision for archive_id in [*ids, saved]}
    assert driver.services.migrate(plenty) == {"archives looked at": 2}
    assert {archive_id: driver.archive(archive_id).revision for archive_id in revisions} == revisions
    assert driver.services.schema.read() == Schema(KNOWN, KNOWN)
    assert driver.services.migrate(plenty) == {}
    assert driver.services.migrate(plenty, again=True) == {"archives looked at": 2}


def test_missing_fields_get_defaults_in_migration(driver: CacheDriver):
    item = deepcopy(FIRST["stored"])
    del item["archive"]["M"]["postponed_until"]
    del item["archive"]["M"]["merge"]["M"]["sent_at"]
    archive_id = put(driver, item)
    assert driver.archive(archive_id).postponed_until == 0
    assert driver.services.migrate(plenty)["archives migrated"] == 1
    document = driver.services.table._archives.get(archive_id).archive
    assert (document["postponed_until"], document["merge"]["sent_at"]) == (0, None)


def test_interrupted_migration_resumes(driver: CacheDriver):
    ids = {digit * 32 for digit in "1234567"}
    for archive_id in ids:
        item = deepcopy(FIRST["given up and swept"])
        item["archive_id"]["S"] = item["archive"]["M"]["id"]["S"] = archive_id
        put(driver, item)
    times = iter([plenty(), plenty(), schema.DEADLINE_MARGIN - 1])
    first = driver.services.migrate(lambda: next(times))
    assert first == {"archives looked at": 2, "archives migrated": 2, "left for another run": 1}
    current = driver.services.schema.read()
    assert (current.oldest, current.migrated_up_to in ids) == (0, True)
    assert driver.services.migrate(plenty) == {"archives looked at": 5, "archives migrated": 5}
    assert driver.services.schema.read() == Schema(KNOWN, KNOWN)


def test_unreadable_archive_does_not_stop_migration(driver: CacheDriver):
    broken = deepcopy(FIRST["given up and swept"])
    broken["archive_id"]["S"] = "b" * 32
    broken["archive"]["M"]["state"]["S"] = "of no release"
    put(driver, broken)
    put(driver, FIRST["given up and swept"])
    done = driver.services.migrate(plenty)
    assert done == {"archives looked at": 2, "archives migrated": 1, "archives not migrated": 1}
    assert driver.services.schema.read().oldest == 0
    assert driver.services.migrate(plenty) == {}, "each try reads the whole table"
    assert driver.services.migrate(plenty, again=True)["archives not migrated"] == 1
    driver.clock.advance(schema.RETRY / SECOND)
    assert driver.services.migrate(plenty)["archives not migrated"] == 1


def test_schema_with_fewer_fields_is_replaced(driver: CacheDriver):
    table = driver.services.settings.archives_table
    noted = {"archive_id": {"S": "schema"}, "newest": {"N": str(KNOWN)}, "oldest": {"N": "0"}}
    driver.services.session.client("dynamodb").put_item(TableName=table, Item=noted)
    current = driver.services.schema.read()
    assert current == Schema(KNOWN)
    driver.services.schema.write(current, Schema(KNOWN, KNOWN))
    assert driver.services.schema.read() == Schema(KNOWN, KNOWN)
    with pytest.raises(WriteConflict):
        driver.services.schema.write(current, Schema(KNOWN, KNOWN, "a" * 32))


def test_schema_check_gives_up_after_conflicts(driver: CacheDriver, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(type(driver.services.schema), "write", lambda *_: fail(WriteConflict()))
    with pytest.raises(Unavailable, match="too many functions"):
        driver.services.check_schema()


def test_forced_migration_updates_due_times(driver: CacheDriver):
    saved = driver.save(name("npm"), b"a").archive_id
    before = due_at(driver, saved)
    driver.services.lifetimes = replace(driver.services.lifetimes, unused=dict.fromkeys(EntryClass, 60 * SECOND))
    assert driver.services.migrate(plenty, again=True) == {"archives looked at": 1, "archives migrated": 1}
    assert due_at(driver, saved) < before
