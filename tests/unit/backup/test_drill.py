"""docs/operations.md, "Restore the tables": the drill, on engines as far as they go."""

import gzip
from pathlib import Path

import pytest

from actions_cache.domain.migrations import KNOWN
from actions_cache.domain.schema import Schema
from dev.backup import contents
from dev.backup.__main__ import main, restore, save
from dev.backup.contents import ENTRIES, NotABackup, Row
from dev.backup.tables import Refused, Tables
from tests.support.journey import Journey, name, plenty

HOUR = 3600


def tables_of(journey: Journey) -> Tables:
    control = journey.control
    settings = control.settings
    names = {
        "EntriesTable": settings.entries_table,
        "ReservationsTable": settings.reservations_table,
        "ArchivesTable": settings.archives_table,
        "RepositoriesTable": settings.repositories_table,
    }
    return Tables(control.session.client("dynamodb"), names)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "backup.jsonl.gz"


def rows(journey: Journey) -> list[Row]:
    return sorted(tables_of(journey).rows(), key=str)


def lose_all(journey: Journey) -> None:
    tables_of(journey).delete_all_but(frozenset())


def test_tables_that_were_lost_come_back_as_they_were(journey: Journey, file: Path) -> None:
    merged = journey.save(name("merged"), b"a" * 100, b"b").archive_id
    journey.merge_all()
    journey.upload(name("being uploaded"), b"c")
    before = rows(journey)
    assert save(tables_of(journey), file) == f"{len(before)} items saved in {file}"

    lose_all(journey)
    assert restore(tables_of(journey), file, replace=False).startswith(f"{len(before)} items restored, 0 left out")

    assert rows(journey) == before
    assert journey.content(merged) == b"a" * 100 + b"b"
    assert journey.look_up("merged") is not None
    assert journey.control.finalize(name("being uploaded"), 1).name.key == "being uploaded"


def test_the_drill_what_was_deleted_by_mistake_is_back_and_what_came_since_is_lost(
    on_engines: Journey, file: Path
) -> None:
    """With cleanup paused from the mistake on: nothing runs here that a test doesn't call."""
    journey = on_engines
    mistake = journey.save(name("deleted by mistake"), b"d" * 5000).archive_id
    save(tables_of(journey), file)
    journey.control.remove_entry(mistake, lambda _: True)
    since = journey.save(name("saved since"), b"s").archive_id
    assert journey.look_up("deleted by mistake") is None

    said = restore(tables_of(journey), file, replace=True)

    assert not said.endswith(" 0 others deleted")
    assert journey.control.table.archive(since) is None
    assert journey.look_up("deleted by mistake") is not None
    assert journey.content(mistake) == b"d" * 5000
    assert journey.look_up("saved since") is None
    # Its name can be saved anew; its bytes nobody can name any more, and the search for orphans deletes them.
    assert journey.save(name("saved since"), b"t").archive_id != since
    assert journey.keys(since)
    assert journey.control.find_orphans(plenty)["orphaned archives deleted"] == 1
    assert journey.keys(since) == []
    assert journey.clean_up().get("failed", 0) == 0
    assert journey.content(mistake) == b"d" * 5000


def test_without_the_pause_bytes_are_gone_and_the_restored_entry_is_a_miss_that_goes(
    journey: Journey, file: Path
) -> None:
    lost = journey.save(name("npm"), b"d").archive_id
    save(tables_of(journey), file)
    journey.control.remove_entry(lost, lambda _: True)
    while journey.control.table.archive(lost) is not None:
        journey.clock.advance(HOUR)
        journey.clean_up()

    restore(tables_of(journey), file, replace=True)

    assert journey.keys(lost) == []
    assert journey.look_up("npm") is None
    assert journey.control.table.entry(name("npm")) is None, "else nobody could save it again"
    journey.save(name("npm"), b"e")


@pytest.mark.parametrize("lost", ["ArchivesTable", "EntriesTable"])
def test_what_doesnt_fit_together_is_left_out(journey: Journey, file: Path, lost: str) -> None:
    """As where a table's backup is older than the other's: neither half would ever go."""
    journey.save(name("whole"), b"w")
    half = journey.save(name("half"), b"h").archive_id
    torn = [row for row in rows(journey) if row.table != lost or row.item.get("archive_id") != {"S": half}]
    assert len(torn) == len(rows(journey)) - 1
    contents.write(file, tables_of(journey).names, torn)

    assert "1 left out" in restore(tables_of(journey), file, replace=True)

    assert journey.look_up("whole") is not None
    assert journey.look_up("half") is None
    assert half not in {row.item.get("archive_id", {}).get("S") for row in rows(journey)}
    journey.save(name("half"), b"again")


def test_tables_that_hold_something_are_left_alone_unless_told(journey: Journey, file: Path) -> None:
    save(tables_of(journey), file)
    journey.save(name("npm"), b"a")
    before = rows(journey)
    with pytest.raises(Refused, match="--replace"):
        restore(tables_of(journey), file, replace=False)
    assert rows(journey) == before


@pytest.mark.parametrize("damage", ["cut off", "not gzip", "lacks its last line", "of another format"])
def test_a_file_that_isnt_whole_changes_nothing(journey: Journey, file: Path, damage: str) -> None:
    journey.save(name("npm"), b"a")
    save(tables_of(journey), file)
    before = rows(journey)
    if damage == "cut off":
        file.write_bytes(file.read_bytes()[:-20])
    elif damage == "not gzip":
        file.write_text("{}")
    else:
        lines = gzip.decompress(file.read_bytes()).splitlines(keepends=True)
        lines = lines[:-1] if damage == "lacks its last line" else [b'{"format": 2}\n', *lines[1:]]
        file.write_bytes(gzip.compress(b"".join(lines)))
    with pytest.raises(NotABackup):
        restore(tables_of(journey), file, replace=True)
    assert rows(journey) == before


def test_a_backup_carries_its_schema_version(journey: Journey, file: Path) -> None:
    journey.save(name("npm"), b"a")
    journey.control.migrate(plenty)
    save(tables_of(journey), file)
    lose_all(journey)
    assert journey.control.schema.read() is None
    assert journey.look_up("npm") is None, "and that is counted"
    restore(tables_of(journey), file, replace=False)
    assert journey.control.schema.read() == Schema(KNOWN, KNOWN)


def test_the_command_takes_the_tables_that_the_environment_names_or_others(
    journey: Journey, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    journey.save(name("npm"), b"a")
    for table, it in tables_of(journey).names.items():
        monkeypatch.setenv(f"{table.removesuffix('Table').upper()}_TABLE", it)
    assert main(["save", str(file)]) == 0
    assert "items saved" in capsys.readouterr().out
    assert main(["restore", str(file)]) == 1
    assert "--replace" in capsys.readouterr().err
    assert main(["restore", "--replace", str(file)]) == 0
    assert main(["save", "--table", "NoTable=x", str(file)]) == 1
    assert "there is no table NoTable" in capsys.readouterr().err
    monkeypatch.delenv("ARCHIVES_TABLE")
    assert main(["save", str(file)]) == 1
    assert ".local/env" in capsys.readouterr().err
    assert ENTRIES in tables_of(journey).names
