"""Objects that the table has forgotten are found in the bucket and deleted; all others stay."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from actions_cache import cleanup, cleanup_batch
from actions_cache.domain.entry import EntryFamily, EntryName
from actions_cache.domain.object_keys import ArchiveKeys
from actions_cache.ports import Unavailable
from dev.clients.driver import CacheDriver, block_ids, fail, plenty

NAME = EntryName(EntryFamily("1", "refs/heads/main", "v"), "key")


@dataclass
class Watched:
    """Wraps the bucket, records what is listed, and fails to delete some keys."""

    bucket: Any
    before_listing: Callable[[], object] = lambda: None
    listed: list[str] = field(default_factory=list)
    undeletable: str = "none"
    """Text in the keys that can't be deleted."""

    def __getattr__(self, method: str) -> Any:
        return getattr(self.bucket, method)

    def archive_ids(self, after: str) -> Iterator[str]:
        self.before_listing()
        for archive_id in self.bucket.archive_ids(after):
            self.listed.append(archive_id)
            yield archive_id

    def delete(self, keys: Sequence[str]) -> None:
        if any(self.undeletable in key for key in keys):
            raise Unavailable("503")
        self.bucket.delete(keys)


@dataclass
class StartAt:
    """Tokens that make a run start at this id."""

    at: str

    def new(self) -> str:
        return self.at


def orphan(driver: CacheDriver, first_digit: str) -> str:
    archive_id = first_digit * 32
    for number in range(2):
        driver.services.bucket.write_once(f"archives/{archive_id}/parts/blob/{number}", b"nobody's")
    return archive_id


def left(driver: CacheDriver) -> set[str]:
    return set(driver.services.bucket.archive_ids(""))


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_only_orphans_are_deleted(driver: CacheDriver, monkeypatch, batch: int):
    monkeypatch.setattr(cleanup, "LOOKUP_BATCH", batch)
    saved = driver.save(NAME, b"a", b"b").archive_id
    reserved = driver.upload(replace(NAME, key="reserved"), b"a", b"b")
    orphans = {orphan(driver, digit) for digit in "0f"}
    with monkeypatch.context() as faults, pytest.raises(Unavailable):
        faults.setattr(driver.services.table, "known_archives", lambda _: fail(Unavailable("503")))
        driver.services.find_orphans(plenty)
    assert driver.services.find_orphans(lambda: cleanup_batch.DEADLINE_MARGIN - 1) == {"left for another run": 1}
    assert left(driver) == {saved, reserved, *orphans}, "a table that fails, or a run without time, costs no object"

    done = driver.services.find_orphans(plenty)

    assert left(driver) == {saved, reserved}
    assert done == {"archives seen": 4, "orphaned archives deleted": 2}
    assert driver.services.find_orphans(plenty) == {"archives seen": 2, "orphaned archives deleted": 0}


def test_archive_saved_during_listing_stays(driver: CacheDriver):
    bucket = Watched(driver.services.bucket, lambda: driver.save(replace(NAME, key=f"{len(left(driver))}"), b"a"))
    done = replace(driver.services.find_orphans, bucket=bucket, tokens=StartAt("f" * 32))(plenty)
    assert done["archives seen"] == len(bucket.listed) > 0
    assert done["orphaned archives deleted"] == 0


def test_put_outlasting_tombstone_is_found(
    driver: CacheDriver,
):
    archive_id = driver.save(NAME, b"a", b"b").archive_id
    readable = driver.keys(archive_id)
    driver.services.remove_entry(archive_id, lambda _: True)
    driver.services.find_orphans(plenty)
    assert driver.keys(archive_id) == readable

    while driver.services.table.archive(archive_id) is not None:
        driver.clock.advance(1800)
        driver.clean_up()
    driver.put_block(archive_id, block_ids(1)[0], b"ended only now")
    driver.services.find_orphans(plenty)
    assert left(driver) == set()


def test_run_starts_anywhere_and_stops_in_time(driver: CacheDriver):
    ids = [orphan(driver, digit) for digit in "05acf"]
    # The time left is read for the uploads, and twice for each archive: before it, and for its slice.
    times = iter([*[plenty()] * 5, cleanup_batch.DEADLINE_MARGIN - 1])
    from_seven = replace(driver.services.find_orphans, tokens=StartAt("7" * 32))

    done = from_seven(lambda: next(times))

    assert left(driver) == {*ids[:2], ids[4]}
    assert done == {"archives seen": 2, "orphaned archives deleted": 2, "left for another run": 1}
    from_seven(plenty)
    assert left(driver) == set()


def test_orphan_search_ends_where_it_began(driver: CacheDriver):
    ids = [orphan(driver, digit) for digit in "07acf"]
    bucket = Watched(driver.services.bucket, undeletable="archives")
    replace(driver.services.find_orphans, bucket=bucket, tokens=StartAt(ids[1]))(plenty)
    assert bucket.listed == [*ids[2:], *ids[:2], ids[2]], "the last one shows that the round is complete"


def test_orphan_flood_delays_no_other_archive(driver: CacheDriver, monkeypatch):
    """A flood is deleted page by page and, once its slice is over, after the others."""
    monkeypatch.setattr("actions_cache.archives.PAGE", 2)
    flood, other = "0" * 32, "1" * 32
    for archive_id, count in ((flood, 9), (other, 1)):
        for number in range(count):
            driver.services.bucket.write_once(f"archives/{archive_id}/parts/blob/{number}", b"nobody's")
    deleted: list[str] = []
    times = iter(range(10**6, 0, -cleanup.ORPHAN_SLICE))
    bucket = Watched(driver.services.bucket)
    delete = bucket.delete

    def recorded_delete(keys):
        deleted.append(keys[0].split("/")[1][0])
        delete(keys)

    monkeypatch.setattr(bucket, "delete", recorded_delete)
    replace(driver.services.find_orphans, bucket=bucket, tokens=StartAt("f" * 32))(lambda: next(times))
    assert "1" in deleted[:3], "the other archive had its turn after the first slice"
    assert deleted.count("0") == 5
    assert left(driver) == set()


def test_undeletable_archive_blocks_no_other(driver: CacheDriver):
    ids = [orphan(driver, digit) for digit in "057f"]
    bucket = Watched(driver.services.bucket, undeletable=ids[2])
    done = replace(driver.services.find_orphans, bucket=bucket)(plenty)
    assert left(driver) == {ids[2]}
    assert done == {"archives seen": 4, "orphaned archives deleted": 3, "failed": 1}


def test_real_store_lists_ids_from_any_start(on_emulators: CacheDriver):
    ids = [orphan(on_emulators, digit) for digit in "07f"]
    bucket = on_emulators.services.bucket
    assert list(bucket.archive_ids("")) == ids
    assert list(bucket.archive_ids(ids[0])) == ids[1:]
    assert list(bucket.archive_ids("70")) == ids[1:]
    assert list(bucket.archive_ids(ids[2])) == []
    saved = on_emulators.save(NAME, b"a", b"b").archive_id
    assert on_emulators.services.table.known_archives([saved, *ids]) == {saved}
    assert on_emulators.services.find_orphans(plenty)["orphaned archives deleted"] == len(ids)
    # SeaweedFS goes on listing the empty folders.
    assert on_emulators.services.find_orphans(plenty)["orphaned archives deleted"] == 0
    assert list(bucket.list("")) == list(bucket.list(ArchiveKeys(saved).prefix)) != []
