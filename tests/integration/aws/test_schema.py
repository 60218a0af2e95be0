"""The schema version, and archives as other releases wrote them (ports.SchemaVersion, ports.Table)."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actions_cache import schema
from actions_cache.domain.archive import ArchiveState, MergeState
from actions_cache.domain.budgets import Usage
from actions_cache.domain.schema import KNOWN, Schema
from actions_cache.domain.timing import SECOND
from actions_cache.ports import Unavailable, WriteConflict
from actions_cache.schema import NewerSchema
from tests.support.journey import Journey, fail, name, plenty

FIRST: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "items_of_the_first_commit.json").read_text())
"""Made by the code of the first commit that had tables, 2081364, and never changed since."""

T = 1_763_900_000 * SECOND
HOUR = 3600 * SECOND


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No index lags here."""
    monkeypatch.setattr("actions_cache.usage.INDEX_LAG_SECONDS", 0)


def put(journey: Journey, item: dict[str, Any]) -> str:
    """As an older release left it. Returns the archive's id."""
    services = journey.services
    services.database.connection.dispatch("PutItem", {"TableName": services.settings.archives_table, "Item": item})
    return str(item["archive_id"]["S"])


def due_at(journey: Journey, archive_id: str) -> int:
    return int(journey.services.table._archives.get(archive_id).due_at)


# ------------------------------------------------------------------ the version itself


def test_stale_schema_write_conflicts(journey: Journey):
    schema = journey.services.schema
    assert schema.read() is None
    schema.write(None, Schema(1))
    with pytest.raises(WriteConflict):
        schema.write(None, Schema(1))
    schema.write(Schema(1), Schema(2, 1, "abc"))
    assert schema.read() == Schema(2, 1, "abc")
    with pytest.raises(WriteConflict):
        schema.write(Schema(2, 1), Schema(3))


def test_new_tables_get_current_version(journey: Journey):
    journey.reserve(name("npm"))
    assert journey.services.schema.read() == Schema(KNOWN)


def test_newer_schema_is_refused(journey: Journey):
    journey.services.schema.write(None, Schema(KNOWN + 1))
    with pytest.raises(NewerSchema, match=f"version {KNOWN + 1}.*knows up to {KNOWN}"):
        journey.reserve(name("npm"))
    assert list(journey.services.check_health()) == ["schema"]
    with pytest.raises(Unavailable, match="deploy the newer release"):
        journey.clean_up()


def test_health_check_reports_newer_schema(journey: Journey):
    journey.reserve(name("npm"))
    assert journey.services.check_health() == {}
    journey.services.schema.write(Schema(KNOWN), Schema(KNOWN + 1))
    assert "newer release" in journey.services.check_health()["schema"]


# ------------------------------------------------------------------ what older releases wrote


def test_first_release_items_are_readable(journey: Journey):
    ids = {kind: put(journey, item) for kind, item in FIRST.items()}
    found = {kind: journey.archive(archive_id) for kind, archive_id in ids.items()}
    assert found["reserved"].state is ArchiveState.RESERVED
    assert found["reserved"].reservation_expires_at == T + HOUR
    commit = found["stored"].commit
    assert commit is not None
    assert (commit.size, commit.part_count) == (20_000_000, 2)
    assert found["stored"].name == name("npm-linux")
    assert found["given up and swept"].merge.state is MergeState.FAILED
    assert found["merged"].object is not None
    assert found["merged"].revision == 9


def test_old_failed_merge_is_due_after_migration(journey: Journey):
    """Nothing leaks: the first release's rule came back to them only when the entry expired."""
    archive_id = put(journey, FIRST["given up and swept"])
    before = journey.archive(archive_id)
    done = journey.services.migrate(plenty)
    assert done == {"archives looked at": 1, "archives migrated": 1}
    given_up_at = before.merge.ended_at
    assert due_at(journey, archive_id) == given_up_at + journey.services.lifetimes.grace
    assert int(FIRST["given up and swept"]["due_at"]["N"]) > due_at(journey, archive_id)
    after = journey.archive(archive_id)
    assert after.revision == before.revision + 1


def test_migration_adds_old_archives_to_usage(journey: Journey):
    archive_id = put(journey, FIRST["merged"])
    assert list(journey.services.table.stored_archives("42")) == []
    assert journey.services.repositories.ids() == []
    assert journey.services.migrate(plenty) == {"archives looked at": 1, "archives migrated": 1}
    assert [it.id for it in journey.services.table.stored_archives("42")] == [archive_id]
    assert journey.services.repositories.ids() == ["42"], "else nothing would ever count it, or evict of it"
    assert journey.services.reconcile_usage("42")
    assert journey.services.repositories.usage("42") == Usage(20_000_000, 1)


def test_migration_skips_current_items_and_runs_once(journey: Journey):
    ids = [journey.reserve(name("yarn"))]
    saved = journey.save(name("npm"), b"a").archive_id
    revisions = {archive_id: journey.archive(archive_id).revision for archive_id in [*ids, saved]}
    assert journey.services.migrate(plenty) == {"archives looked at": 2}
    assert {archive_id: journey.archive(archive_id).revision for archive_id in revisions} == revisions
    assert journey.services.schema.read() == Schema(KNOWN, KNOWN)
    assert journey.services.migrate(plenty) == {}
    assert journey.services.migrate(plenty, again=True) == {"archives looked at": 2}


def test_missing_fields_get_defaults_in_migration(journey: Journey):
    item = json.loads(json.dumps(FIRST["stored"]))
    del item["archive"]["M"]["postponed_until"]
    del item["archive"]["M"]["merge"]["M"]["sent_at"]
    archive_id = put(journey, item)
    assert journey.archive(archive_id).postponed_until == 0
    assert journey.services.migrate(plenty)["archives migrated"] == 1
    document = journey.services.table._archives.get(archive_id).archive.as_dict()
    assert (document["postponed_until"], document["merge"]["sent_at"]) == (0, None)


def test_interrupted_migration_resumes(journey: Journey):
    ids = {digit * 32 for digit in "1234567"}
    for archive_id in ids:
        item = json.loads(json.dumps(FIRST["given up and swept"]))
        item["archive_id"]["S"] = item["archive"]["M"]["id"]["S"] = archive_id
        put(journey, item)
    times = iter([plenty(), plenty(), schema.DEADLINE_MARGIN - 1])
    first = journey.services.migrate(lambda: next(times))
    assert first == {"archives looked at": 2, "archives migrated": 2, "left for another run": 1}
    seen = journey.services.schema.read()
    assert seen is not None
    assert seen.oldest == 0
    assert seen.migrated_up_to in ids
    assert journey.services.migrate(plenty) == {"archives looked at": 5, "archives migrated": 5}
    assert journey.services.schema.read() == Schema(KNOWN, KNOWN)


def test_unreadable_archive_does_not_stop_migration(journey: Journey):
    broken = json.loads(json.dumps(FIRST["given up and swept"]))
    broken["archive_id"]["S"] = "b" * 32
    broken["archive"]["M"]["state"]["S"] = "of no release"
    put(journey, broken)
    put(journey, FIRST["given up and swept"])
    done = journey.services.migrate(plenty)
    assert done == {"archives looked at": 2, "archives migrated": 1, "archives not migrated": 1}
    seen = journey.services.schema.read()
    assert seen is not None
    assert seen.oldest == 0
    assert journey.services.migrate(plenty) == {}, "each try reads the whole table"
    assert journey.services.migrate(plenty, again=True)["archives not migrated"] == 1
    journey.clock.advance(schema.RETRY / SECOND)
    assert journey.services.migrate(plenty)["archives not migrated"] == 1


def test_schema_with_fewer_fields_is_replaced(journey: Journey):
    table = journey.services.settings.archives_table
    noted = {"archive_id": {"S": "schema"}, "newest": {"N": str(KNOWN)}, "oldest": {"N": "0"}}
    journey.services.session.client("dynamodb").put_item(TableName=table, Item=noted)
    seen = journey.services.schema.read()
    assert seen == Schema(KNOWN)
    journey.services.schema.write(seen, Schema(KNOWN, KNOWN))
    assert journey.services.schema.read() == Schema(KNOWN, KNOWN)
    with pytest.raises(WriteConflict):
        journey.services.schema.write(seen, Schema(KNOWN, KNOWN, "a" * 32))


def test_schema_check_gives_up_after_conflicts(journey: Journey, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(type(journey.services.schema), "write", lambda *_: fail(WriteConflict()))
    with pytest.raises(Unavailable, match="too many functions"):
        journey.services.check_schema()


def test_forced_migration_updates_due_times(journey: Journey):
    saved = journey.save(name("npm"), b"a").archive_id
    before = due_at(journey, saved)
    journey.services.lifetimes = replace(journey.services.lifetimes, unused_entry=60 * SECOND)
    assert journey.services.migrate(plenty, again=True) == {"archives looked at": 1, "archives migrated": 1}
    assert due_at(journey, saved) < before
