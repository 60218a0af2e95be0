"""Cleanup cuts off no reader, leaves nothing stuck, and leaks no object."""

from dataclasses import replace

import pytest

from actions_cache.domain.archive import ArchiveState, MergeState
from actions_cache.domain.errors import NotFound
from actions_cache.events import RunEnd
from actions_cache.ports import ObjectGone, Unavailable, WrongBytes
from dev.clients.driver import block_ids, fail, name, plenty

KEY = name("npm-1")
ONE, TWO = b"1" * 1000, b"2" * 1000
HOUR = 3600


def merged(driver):
    entry = driver.save(KEY, ONE, TWO)
    driver.merge_all()
    return entry.archive_id


def objects(driver):
    return [part.key for part in driver.services.bucket.list("archives/")]


def test_merged_archive_loses_parts_after_grace(driver):
    archive_id = merged(driver)
    everything = driver.keys(archive_id)
    driver.clock.advance(driver.services.settings.grace_seconds - 1)
    driver.clean_up()
    assert driver.keys(archive_id) == everything
    driver.clock.advance(1)
    driver.clean_up()
    [left] = driver.keys(archive_id)
    assert left.startswith("merged/")
    assert driver.content(archive_id) == ONE + TWO
    assert driver.look_up("npm-1") is not None


def test_live_unmerged_archive_keeps_parts(driver):
    entry = driver.save(KEY, ONE, TWO)
    for _ in range(6):
        driver.clock.advance(24 * HOUR)
        driver.clean_up()
    assert driver.content(entry.archive_id) == ONE + TWO


def test_expired_reservation_is_removed_with_parts(driver):
    archive_id = driver.reserve(KEY)
    driver.put_block(archive_id, "YQ==", ONE)
    driver.clock.advance(HOUR - 1)
    driver.clean_up()
    assert len(driver.keys(archive_id)) == 1
    driver.clock.advance(1)
    successor = driver.upload(KEY, ONE, TWO)
    driver.clean_up()
    assert driver.keys(archive_id) == []
    assert driver.services.finalize(KEY, 2000).archive_id == successor
    driver.put_block(archive_id, "YQ==", ONE)
    driver.clock.advance(HOUR)
    driver.clean_up()
    assert driver.keys(archive_id) == [], "a late part is swept too"
    assert driver.services.table.archive(archive_id) is None


def test_stray_parts_are_swept_after_url_expiry(driver):
    entry = driver.save(KEY, ONE)
    driver.put_block(entry.archive_id, block_ids(1)[0], b"late")
    driver.clock.advance(2 * HOUR - 1)
    driver.clean_up()
    assert len(driver.keys(entry.archive_id)) == 2
    driver.clock.advance(1)
    driver.clean_up()
    assert driver.content(entry.archive_id) == ONE
    assert len(driver.keys(entry.archive_id)) == 1


def test_unused_entry_expires_after_seven_days(driver):
    archive_id = merged(driver)
    driver.clock.advance(7 * 24 * HOUR - 1)
    driver.clean_up()
    assert driver.look_up("npm-1") is not None, "a lookup counts as a use"
    driver.clock.advance(7 * 24 * HOUR)
    driver.clean_up()
    assert driver.look_up("npm-1") is None
    assert len(driver.keys(archive_id)) == 1
    driver.clock.advance(driver.services.settings.grace_seconds)
    driver.clean_up()
    assert objects(driver) == []
    assert driver.services.table.archive(archive_id) is None


@pytest.mark.parametrize("read_by", ["archives", "archive"])
def test_entry_used_during_cleanup_does_not_expire(driver, monkeypatch, read_by):
    """Whether its tasks are done together with others', or alone."""
    entry = driver.save(KEY, b"one")
    driver.clock.advance(6 * 24 * 3600)
    driver.clean_up()
    driver.clock.advance(24 * 3600)
    table = driver.services.table
    read = getattr(table, read_by)

    def used_meanwhile(ids):
        seen = read(ids)
        monkeypatch.setattr(table, read_by, read)
        assert driver.look_up(KEY.key) is not None
        return seen

    monkeypatch.setattr(table, "archives", lambda _: fail(Unavailable("503")))
    monkeypatch.setattr(table, read_by, used_meanwhile)
    driver.clean_up()
    assert driver.archive(entry.archive_id).is_stored


def test_resaved_entry_keeps_its_new_bytes(driver):
    old = merged(driver)
    driver.services.remove_entry(old, lambda _: True)
    new = driver.save(KEY, TWO, ONE)
    driver.merge_all()
    for _ in range(5):
        driver.clock.advance(HOUR)
        driver.clean_up()
    assert driver.services.table.archive(old) is None
    assert driver.content(new.archive_id) == TWO + ONE


def test_unsent_claim_is_retaken(driver, monkeypatch):
    """The process that claimed died after its write and before it sent the message."""

    class Died(BaseException):
        pass

    with monkeypatch.context() as faults:
        faults.setattr(driver.services.queue, "send", lambda _: fail(Died()))
        with pytest.raises(Died):
            driver.save(KEY, ONE, TWO)
    driver.clock.advance(59)
    assert driver.clean_up() == {}
    driver.clock.advance(1)
    driver.clean_up()
    assert driver.merge_all() == [RunEnd.MERGED]


def test_crashed_run_is_retaken(driver, monkeypatch):
    class Died(BaseException):
        pass

    entry = driver.save(KEY, ONE, TWO)
    [message] = driver.messages()
    with monkeypatch.context() as faults:
        faults.setattr(driver.services.bucket, "upload_part", lambda *_: fail(Died()))
        faults.setattr(type(driver.services.merge), "_release", lambda *_: None)
        with pytest.raises(Died):
            driver.services.merge(message, plenty)
    assert driver.archive(entry.archive_id).merge.state is MergeState.RUNNING
    driver.clock.advance(60)
    driver.clean_up()
    assert driver.services.merge(message, plenty) is RunEnd.NOT_OURS
    assert driver.merge_all() == [RunEnd.MERGED]


def test_cleanup_stops_in_time_and_resumes(driver):
    archives = [driver.reserve(name(f"npm-{i}")) for i in range(5)]
    driver.clock.advance(HOUR)
    turns = iter([20_000] * 5)
    assert driver.services.clean_up(lambda: next(turns, 1_000))["left for the next run"] == 1
    dropped = [archive_id for archive_id in archives if driver.archive(archive_id).state is ArchiveState.DELETED]
    assert 0 < len(dropped) < 5
    driver.clean_up()
    assert all(driver.archive(archive_id).state is ArchiveState.DELETED for archive_id in archives)


def test_failing_archive_does_not_block_others(driver, monkeypatch):
    archives = [driver.reserve(name(f"npm-{i}")) for i in range(3)]
    driver.put_block(archives[1], "YQ==", ONE)
    driver.clock.advance(HOUR)
    with monkeypatch.context() as faults:
        faults.setattr(driver.services.bucket, "delete", lambda keys: fail(Unavailable("503")) if keys else None)
        assert driver.clean_up()["failed"] == 1
        assert "failed" not in driver.clean_up()
    assert driver.keys(archives[0]) == []
    driver.clock.advance(600)
    driver.clean_up()
    assert driver.keys(archives[1]) == []


def test_random_workload_leaves_nothing_behind(driver):
    """The bucket holds exactly the objects that the table refers to in the end."""
    for i in range(4):
        driver.save(name(f"npm-{i}"), ONE, TWO)
        driver.reserve(name(f"dead-{i}"))
        driver.put_block(driver.upload(name(f"unfinished-{i}"), ONE, TWO), "YQ==", b"stray")
    driver.merge_all()
    for _ in range(6):
        driver.clock.advance(HOUR / 2)
        driver.clean_up()
    assert len(objects(driver)) == 4
    assert all("/merged/" in key for key in objects(driver))


LOST = {
    "gone": lambda driver, key: driver.services.bucket.delete([key]),
    "replaced": lambda driver, key: driver.overwrite(key, b"other bytes"),
}


@pytest.mark.parametrize("how", LOST)
def test_unmerged_archive_without_manifest_is_removed(driver, how):
    """The entry can't be restored, and cleanup mustn't fail on it every ten minutes for ever."""
    entry = driver.save(KEY, ONE, TWO)
    LOST[how](driver, driver.archive(entry.archive_id).commit.manifest.key)
    driver.clock.advance(2 * HOUR)
    done = driver.clean_up()
    assert "failed" not in done
    assert driver.archive(entry.archive_id).state is ArchiveState.DELETED
    assert driver.services.table.entry(KEY) is None
    driver.clock.advance(driver.services.settings.grace_seconds)
    assert "failed" not in driver.clean_up()
    assert objects(driver) == []
    assert driver.services.table.archive(entry.archive_id) is None


def store_unreadable_manifest(driver, archive_id, content=b"{}"):
    """Store a manifest that this server never writes, with the right ETag."""
    table = driver.services.table
    current = driver.archive(archive_id)
    manifest = driver.services.bucket.write_once(f"{current.commit.manifest.key}-unreadable", content)
    table.replace_archive(current, replace(current, commit=replace(current.commit, manifest=manifest)))


@pytest.mark.parametrize("content", [b"{}", b"", b"[]", b'{"parts":[[1]]}', b'{"parts":7}', b"\xff"])
def test_unreadable_manifest_counts_as_lost(driver, content):
    entry = driver.save(KEY, ONE, TWO)
    store_unreadable_manifest(driver, entry.archive_id, content)
    driver.clock.advance(2 * HOUR)
    assert "failed" not in driver.clean_up()
    assert driver.archive(entry.archive_id).state is ArchiveState.DELETED


def test_merged_archive_survives_lost_manifest(driver):
    archive_id = merged(driver)
    manifest = driver.archive(archive_id).commit.manifest.key
    driver.services.bucket.delete([manifest])
    driver.clock.advance(2 * HOUR)
    assert "failed" not in driver.clean_up()
    assert driver.content(archive_id) == ONE + TWO
    [left] = driver.keys(archive_id)
    assert left.startswith("merged/")


def test_corrupt_manifest_does_not_stop_expiry(driver, monkeypatch):
    entry = driver.save(KEY, ONE, TWO)
    manifest = driver.archive(entry.archive_id).commit.manifest
    read = driver.services.bucket.read
    monkeypatch.setattr(
        driver.services.bucket,
        "read",
        lambda source: fail(WrongBytes(manifest, "rot")) if source.part == manifest else read(source),
    )
    driver.clock.advance(2 * HOUR)
    driver.clean_up()
    assert driver.archive(entry.archive_id).is_stored, "the bytes may have changed on the way"
    driver.clock.advance(7 * 24 * HOUR)
    driver.clean_up()
    assert driver.archive(entry.archive_id).state is ArchiveState.DELETED


def test_manifest_still_in_bucket_keeps_entry(driver, monkeypatch):
    entry = driver.save(KEY, ONE, TWO)
    manifest = driver.archive(entry.archive_id).commit.manifest
    with monkeypatch.context() as faults:
        faults.setattr(driver.services.bucket, "read", lambda _: fail(ObjectGone(manifest)))
        driver.clock.advance(2 * HOUR)
        assert driver.clean_up()["failed"] == 1
    assert driver.content(entry.archive_id) == ONE + TWO


def list_blocks(driver, archive_id):
    with pytest.raises(NotFound, match="its entry was removed"):
        driver.services.list_blocks(archive_id)


@pytest.mark.parametrize("how", ["gone", "replaced", "unreadable", "listed"])
def test_merge_without_manifest_removes_entry(driver, how):
    entry = driver.save(KEY, ONE, TWO)
    if how == "unreadable":
        store_unreadable_manifest(driver, entry.archive_id)
    else:
        LOST[how if how in LOST else "gone"](driver, driver.archive(entry.archive_id).commit.manifest.key)
    if how == "listed":
        list_blocks(driver, entry.archive_id)
    else:
        assert driver.merge_all() == [RunEnd.BROKEN]
    assert driver.archive(entry.archive_id).state is ArchiveState.DELETED


def test_open_upload_check_costs_one_listing(driver, monkeypatch):
    driver.upload(KEY, ONE, TWO)
    listed = []
    bucket_list = driver.services.bucket.list

    def recorded_list(*arguments):
        listed.append(arguments)
        return bucket_list(*arguments)

    monkeypatch.setattr(driver.services.bucket, "list", recorded_list)
    for seconds, looks in ((0, 0), (299, 0), (1, 1), (299, 1), (1, 2)):
        driver.clock.advance(seconds)
        driver.clean_up()
        assert len(listed) == looks
    entry = driver.services.finalize(KEY, 2000)
    assert entry.size == 2000
    driver.clock.advance(301)
    assert "look at the open upload" not in driver.clean_up(), "it is no upload any more"
