"""Archives are found by class, those of older releases too, and an older release still reads what this one writes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from actions_cache.domain.archive import deleted, used
from actions_cache.domain.budgets import NO_USAGE, Usage
from actions_cache.domain.entry_class import EntryClass
from dev.clients.driver import REPOSITORY, CacheDriver, name, plenty

MAIN, BRANCH, TRANSIENT = EntryClass
FIRST: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "items_of_the_first_commit.json").read_text())


def save(driver: CacheDriver, key: str, entry_class: EntryClass, scope: str = "refs/heads/main") -> str:
    driver.clock.advance(1)
    return driver.save(name(key, scope), b"data", entry_class=entry_class).archive_id


def keys(driver: CacheDriver, **options: Any) -> str:
    return "".join(archive.name.key for archive in driver.services.table.stored_archives(REPOSITORY, **options))


def as_an_older_release_wrote(driver: CacheDriver, archive_id: str) -> None:
    """Take from the item what only this release writes."""
    table = driver.services.table._archives
    item = table.get(archive_id)
    attributes = item.serialize()
    del attributes["archive"]["M"]["saved_as"]
    attributes["last_used_at"] = attributes["archive"]["M"]["last_used_at"]
    driver.services.database.connection.dispatch(
        "PutItem", {"TableName": driver.services.settings.archives_table, "Item": attributes}
    )


def test_archives_are_filed_by_class_and_last_use(driver: CacheDriver):
    for key, entry_class in (("a", TRANSIENT), ("b", MAIN), ("c", BRANCH), ("d", TRANSIENT), ("e", MAIN)):
        save(driver, key, entry_class)
    assert [keys(driver, entry_class=each) for each in EntryClass] == ["be", "c", "ad"]
    assert (keys(driver), keys(driver, newest_use_first=True)) == ("abcde", "edcba")
    assert keys(driver, newest_use_first=True, at_once=1, entry_class=TRANSIENT) == "da"
    driver.clock.advance(7 * 24 * 36)
    assert driver.look_up("a")
    assert keys(driver, entry_class=TRANSIENT) == "da"
    assert keys(driver) == "bcdea"


def test_usage_is_counted_by_class(driver: CacheDriver):
    ids = [save(driver, key, each) for key, each in zip("abc", EntryClass, strict=True)]
    repositories = driver.services.repositories
    assert repositories.usage(REPOSITORY) == repositories.store_usage() == Usage(12, 3, 4, 1, 4, 1)
    for archive_id in ids:
        current = driver.archive(archive_id)
        driver.services.table.remove_entry(current, deleted(current, driver.clock.now()))  # type: ignore[arg-type]
    assert repositories.usage(REPOSITORY) == repositories.store_usage() == NO_USAGE


def test_older_archives_have_a_class_and_stay_in_order(driver: CacheDriver):
    older = {key: save(driver, key, MAIN, scope) for key, scope in (("a", "refs/heads/x"), ("b", "refs/pull/7/merge"))}
    for archive_id in older.values():
        as_an_older_release_wrote(driver, archive_id)
    save(driver, "c", TRANSIENT)
    assert [driver.archive(archive_id).entry_class for archive_id in older.values()] == [MAIN, TRANSIENT]
    assert keys(driver) == "abc"
    assert keys(driver, entry_class=MAIN) == "ab"
    current = driver.archive(older["b"])
    noted = used(current, driver.clock.now() + 7 * 24 * 3600 * 1000, driver.services.lifetimes)
    assert noted is not None
    driver.services.table.replace_archive(current, noted)
    assert (keys(driver, entry_class=MAIN), keys(driver, entry_class=TRANSIENT)) == ("a", "cb"), "filed at its next use"


def test_older_usage_is_corrected_by_class(driver: CacheDriver, monkeypatch: Any):
    """An older release counts no classes: it is all the default branch's until the next reconciliation."""
    monkeypatch.setattr("actions_cache.usage.INDEX_LAG_SECONDS", 0)
    save(driver, "a", TRANSIENT)
    repositories = driver.services.repositories
    repositories.correct_usage(REPOSITORY, Usage(transient_bytes=-4, transient_entries=-1))
    assert repositories.usage(REPOSITORY).bytes_of(MAIN) == 4
    assert driver.services.reconcile_usage(REPOSITORY)
    assert repositories.usage(REPOSITORY) == Usage(4, 1, 0, 0, 4, 1)


def test_migration_files_older_archives(driver: CacheDriver):
    archive_id = save(driver, "b", MAIN, "refs/pull/7/merge")
    as_an_older_release_wrote(driver, archive_id)
    assert driver.services.migrate(plenty, again=True) == {"archives looked at": 1, "archives migrated": 1}
    assert keys(driver, entry_class=TRANSIENT) == "b"
    assert replace(driver.archive(archive_id), revision=0).saved_as is None


def test_an_older_release_reads_what_this_one_writes(driver: CacheDriver):
    """It knows the attributes of the first commit's items, and takes no notice of others."""
    archive_id = save(driver, "a", TRANSIENT)
    written = driver.services.table._archives.get(archive_id).serialize()
    known = FIRST["stored"]
    assert known.keys() - {"repository", "last_used_at"} <= written.keys()
    assert known["archive"]["M"].keys() <= written["archive"]["M"].keys()
    assert int(written["archive"]["M"]["last_used_at"]["N"]) == driver.clock.now(), "its lists and expiry use this one"
    assert int(written["last_used_at"]["N"]) < 0, "its evictions take transient entries first"
