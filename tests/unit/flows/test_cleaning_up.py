"""No reader is cut off, nothing gets stuck, nothing leaks."""

from dataclasses import replace

import pytest

from actions_cache.domain.archive import ArchiveState, MergeState
from actions_cache.domain.errors import NotFound
from actions_cache.events import RunEnd
from actions_cache.ports import ObjectGone, Unavailable, WrongBytes
from tests.support.journey import block_ids, fail, name, plenty

KEY = name("npm-1")
ONE, TWO = b"1" * 1000, b"2" * 1000
HOUR = 3600


def merged(journey):
    entry = journey.save(KEY, ONE, TWO)
    journey.merge_all()
    return entry.archive_id


def objects(journey):
    return [part.key for part in journey.services.bucket.list("archives/")]


def test_merged_archive_loses_parts_after_grace(journey):
    archive_id = merged(journey)
    everything = journey.keys(archive_id)
    journey.clock.advance(journey.services.settings.grace_seconds - 1)
    journey.clean_up()
    assert journey.keys(archive_id) == everything
    journey.clock.advance(1)
    journey.clean_up()
    [left] = journey.keys(archive_id)
    assert left.startswith("merged/")
    assert journey.content(archive_id) == ONE + TWO
    assert journey.look_up("npm-1") is not None


def test_live_unmerged_archive_keeps_parts(journey):
    entry = journey.save(KEY, ONE, TWO)
    for _ in range(6 * 24):
        journey.clock.advance(HOUR)
        journey.clean_up()
    assert journey.content(entry.archive_id) == ONE + TWO


def test_expired_reservation_is_removed_with_parts(journey):
    archive_id = journey.reserve(KEY)
    journey.put_block(archive_id, "YQ==", ONE)
    journey.clock.advance(HOUR - 1)
    journey.clean_up()
    assert len(journey.keys(archive_id)) == 1
    journey.clock.advance(1)
    journey.clean_up()
    assert journey.keys(archive_id) == []
    assert journey.services.table.reservation(KEY) is None


def test_late_part_of_expired_upload_is_swept(journey):
    archive_id = journey.reserve(KEY)
    journey.clock.advance(HOUR)
    journey.clean_up()
    journey.put_block(archive_id, "YQ==", ONE)
    journey.clock.advance(HOUR)
    journey.clean_up()
    assert objects(journey) == []
    assert journey.services.table.archive(archive_id) is None


def test_expired_reservation_leaves_successor_alone(journey):
    journey.reserve(KEY)
    journey.clock.advance(HOUR)
    successor = journey.upload(KEY, ONE, TWO)
    journey.clean_up()
    assert journey.services.finalize(KEY, 2000).archive_id == successor


def test_stray_parts_are_swept_after_url_expiry(journey):
    entry = journey.save(KEY, ONE)
    journey.put_block(entry.archive_id, block_ids(1)[0], b"late")
    journey.clock.advance(2 * HOUR - 1)
    journey.clean_up()
    assert len(journey.keys(entry.archive_id)) == 2
    journey.clock.advance(1)
    journey.clean_up()
    assert journey.content(entry.archive_id) == ONE
    assert len(journey.keys(entry.archive_id)) == 1


def test_unused_entry_expires_after_seven_days(journey):
    archive_id = merged(journey)
    journey.clock.advance(7 * 24 * HOUR - 1)
    journey.clean_up()
    assert journey.look_up("npm-1") is not None, "this is a use, too"
    journey.clock.advance(7 * 24 * HOUR)
    journey.clean_up()
    assert journey.look_up("npm-1") is None
    assert len(journey.keys(archive_id)) == 1
    journey.clock.advance(journey.services.settings.grace_seconds)
    journey.clean_up()
    assert objects(journey) == []
    assert journey.services.table.archive(archive_id) is None


def test_resaved_entry_keeps_its_new_bytes(journey):
    old = merged(journey)
    journey.services.remove_entry(old, lambda _: True)
    new = journey.save(KEY, TWO, ONE)
    journey.merge_all()
    for _ in range(5):
        journey.clock.advance(HOUR)
        journey.clean_up()
    assert journey.services.table.archive(old) is None
    assert journey.content(new.archive_id) == TWO + ONE


def test_unsent_claim_is_retaken(journey, monkeypatch):
    """The claimer died between its write and its message."""

    class Died(BaseException):
        pass

    with monkeypatch.context() as faults:
        faults.setattr(journey.services.queue, "send", lambda _: fail(Died()))
        with pytest.raises(Died):
            journey.save(KEY, ONE, TWO)
    journey.clock.advance(59)
    assert journey.clean_up() == {}
    journey.clock.advance(1)
    journey.clean_up()
    assert journey.merge_all() == [RunEnd.MERGED]


def test_crashed_run_is_retaken(journey, monkeypatch):
    class Died(BaseException):
        pass

    entry = journey.save(KEY, ONE, TWO)
    [message] = journey.messages()
    with monkeypatch.context() as faults:
        faults.setattr(journey.services.bucket, "upload_part", lambda *_: fail(Died()))
        faults.setattr(type(journey.services.merge), "_fail", lambda *_: None)
        with pytest.raises(Died):
            journey.services.merge(message, plenty)
    assert journey.archive(entry.archive_id).merge.state is MergeState.RUNNING
    journey.clock.advance(60)
    journey.clean_up()
    assert journey.services.merge(message, plenty) is RunEnd.NOT_OURS
    assert journey.merge_all() == [RunEnd.MERGED]


def test_cleanup_stops_in_time_and_resumes(journey):
    archives = [journey.reserve(name(f"npm-{i}")) for i in range(5)]
    journey.clock.advance(HOUR)
    turns = iter([20_000] * 4)
    assert journey.services.clean_up(lambda: next(turns, 1_000))["left for the next run"] == 1
    dropped = [a for a in archives if journey.archive(a).state is ArchiveState.DELETED]
    assert 0 < len(dropped) < 5
    journey.clean_up()
    assert all(journey.archive(a).state is ArchiveState.DELETED for a in archives)


def test_failing_archive_does_not_block_others(journey, monkeypatch):
    archives = [journey.reserve(name(f"npm-{i}")) for i in range(3)]
    journey.put_block(archives[1], "YQ==", ONE)
    journey.clock.advance(HOUR)
    with monkeypatch.context() as faults:
        faults.setattr(journey.services.bucket, "delete", lambda keys: fail(Unavailable("503")) if keys else None)
        assert journey.clean_up()["failed"] == 1
        assert "failed" not in journey.clean_up()
    assert journey.keys(archives[0]) == []
    journey.clock.advance(600)
    journey.clean_up()
    assert journey.keys(archives[1]) == []


def test_random_workload_leaves_nothing_behind(journey):
    """Nothing leaks: in the end the bucket holds exactly what the table points to."""
    for i in range(4):
        journey.save(name(f"npm-{i}"), ONE, TWO)
        journey.reserve(name(f"dead-{i}"))
        journey.put_block(journey.upload(name(f"unfinished-{i}"), ONE, TWO), "YQ==", b"stray")
    journey.merge_all()
    for _ in range(6):
        journey.clock.advance(HOUR / 2)
        journey.clean_up()
    assert len(objects(journey)) == 4
    assert all("/merged/" in key for key in objects(journey))


LOST = {
    "gone": lambda journey, key: journey.services.bucket.delete([key]),
    "replaced": lambda journey, key: journey.overwrite(key, b"other bytes"),
}


@pytest.mark.parametrize("how", LOST)
def test_unmerged_archive_without_manifest_is_removed(journey, how):
    """Nobody can restore it, and cleanup must not fail on it every ten minutes for ever."""
    entry = journey.save(KEY, ONE, TWO)
    LOST[how](journey, journey.archive(entry.archive_id).commit.manifest.key)
    journey.clock.advance(2 * HOUR)
    done = journey.clean_up()
    assert "failed" not in done
    assert journey.archive(entry.archive_id).state is ArchiveState.DELETED
    assert journey.services.table.entry(KEY) is None
    journey.clock.advance(journey.services.settings.grace_seconds)
    assert "failed" not in journey.clean_up()
    assert objects(journey) == []
    assert journey.services.table.archive(entry.archive_id) is None


def unreadable(journey, archive_id, content=b"{}"):
    """Store a manifest that this server never writes, with the right ETag."""
    table = journey.services.table
    seen = journey.archive(archive_id)
    manifest = journey.services.bucket.write_once(f"{seen.commit.manifest.key}-unreadable", content)
    table.replace_archive(seen, replace(seen, commit=replace(seen.commit, manifest=manifest)))


@pytest.mark.parametrize("content", [b"{}", b"", b"[]", b'{"parts":[[1]]}', b'{"parts":7}', b"\xff"])
def test_unreadable_manifest_counts_as_lost(journey, content):
    entry = journey.save(KEY, ONE, TWO)
    unreadable(journey, entry.archive_id, content)
    journey.clock.advance(2 * HOUR)
    assert "failed" not in journey.clean_up()
    assert journey.archive(entry.archive_id).state is ArchiveState.DELETED


def test_merged_archive_survives_lost_manifest(journey):
    archive_id = merged(journey)
    manifest = journey.archive(archive_id).commit.manifest.key
    journey.services.bucket.delete([manifest])
    journey.clock.advance(2 * HOUR)
    assert "failed" not in journey.clean_up()
    assert journey.content(archive_id) == ONE + TWO
    [left] = journey.keys(archive_id)
    assert left.startswith("merged/")


def test_corrupt_manifest_does_not_stop_expiry(journey, monkeypatch):
    entry = journey.save(KEY, ONE, TWO)
    manifest = journey.archive(entry.archive_id).commit.manifest
    read = journey.services.bucket.read
    monkeypatch.setattr(
        journey.services.bucket,
        "read",
        lambda it: fail(WrongBytes(manifest, "rot")) if it.part == manifest else read(it),
    )
    journey.clock.advance(2 * HOUR)
    journey.clean_up()
    assert journey.archive(entry.archive_id).is_stored, "it may have been on the way"
    journey.clock.advance(7 * 24 * HOUR)
    journey.clean_up()
    assert journey.archive(entry.archive_id).state is ArchiveState.DELETED


def test_manifest_still_in_bucket_keeps_entry(journey, monkeypatch):
    entry = journey.save(KEY, ONE, TWO)
    manifest = journey.archive(entry.archive_id).commit.manifest
    with monkeypatch.context() as faults:
        faults.setattr(journey.services.bucket, "read", lambda _: fail(ObjectGone(manifest)))
        journey.clock.advance(2 * HOUR)
        assert journey.clean_up()["failed"] == 1
    assert journey.content(entry.archive_id) == ONE + TWO


def test_block_listing_without_manifest_removes_entry(journey):
    entry = journey.save(KEY, ONE, TWO)
    journey.services.bucket.delete([journey.archive(entry.archive_id).commit.manifest.key])
    with pytest.raises(NotFound, match="its entry was removed"):
        journey.services.list_blocks(entry.archive_id)
    assert journey.archive(entry.archive_id).state is ArchiveState.DELETED


@pytest.mark.parametrize("how", LOST)
def test_merge_without_manifest_removes_entry(journey, how):
    entry = journey.save(KEY, ONE, TWO)
    LOST[how](journey, journey.archive(entry.archive_id).commit.manifest.key)
    assert journey.merge_all() == [RunEnd.BROKEN]
    assert journey.archive(entry.archive_id).state is ArchiveState.DELETED


def test_merge_with_unreadable_manifest_removes_entry(journey):
    entry = journey.save(KEY, ONE, TWO)
    unreadable(journey, entry.archive_id)
    assert journey.merge_all() == [RunEnd.BROKEN]


def test_quickly_finalized_upload_is_not_checked(journey):
    entry = journey.save(KEY, ONE, TWO)
    journey.clock.advance(301)
    assert "look at the open upload" not in journey.clean_up()
    assert journey.archive(entry.archive_id).looked_at == 0


def test_open_upload_check_costs_one_listing(journey, monkeypatch):
    journey.upload(KEY, ONE, TWO)
    listed = []
    bucket_list = journey.services.bucket.list

    def noted(*asked):
        listed.append(asked)
        return bucket_list(*asked)

    monkeypatch.setattr(journey.services.bucket, "list", noted)
    for seconds, looks in ((0, 0), (299, 0), (1, 1), (299, 1), (1, 2)):
        journey.clock.advance(seconds)
        journey.clean_up()
        assert len(listed) == looks
    assert journey.services.finalize(KEY, 2000).size == 2000
