"""One merge, and whatever fails, the archive stays claimable."""

import threading

import pytest

from actions_cache.domain.archive import ArchiveState, MergeState
from actions_cache.domain.merge_plan import MIB
from actions_cache.events import RunEnd
from actions_cache.merge import OutOfTime
from actions_cache.ports import MergeMessage, Unavailable
from dev.services import AllServices
from tests.support.journey import Journey, fail, name, plenty

KEY = name("npm-1")
BIG, SMALL = b"B" * (5 * MIB), b"s" * 1000


@pytest.mark.parametrize(
    "parts",
    [(BIG, BIG), (BIG, SMALL), (SMALL, BIG, SMALL), (SMALL,) * 30, (BIG, SMALL, SMALL, BIG + SMALL, BIG)],
    ids=["copied", "copied, last one short", "topped up", "gathered", "mixed"],
)
def test_merged_object_joins_parts_in_order(journey, parts):
    entry = journey.save(KEY, *parts)
    assert journey.merge_all() == [RunEnd.MERGED]
    assert journey.archive(entry.archive_id).merge.state is MergeState.MERGED
    assert journey.content(entry.archive_id) == b"".join(parts)


def test_upload_sources_are_read_concurrently(journey, monkeypatch):
    """One after the other, each would wait for the store's first byte."""
    entry = journey.save(KEY, *[SMALL] * 4)
    read, all_are_asked = journey.services.bucket.read, threading.Barrier(4)

    def read_together(source):
        if "/parts/" in source.part.key:
            all_are_asked.wait(timeout=10)
        return read(source)

    monkeypatch.setattr(journey.services.bucket, "read", read_together)
    assert journey.merge_all() == [RunEnd.MERGED]
    assert journey.content(entry.archive_id) == SMALL * 4


def test_finalize_claims_multipart_archive_once(journey):
    journey.save(KEY, SMALL, SMALL)
    journey.services.finalize(KEY, 2000)
    journey.save(name("npm-2"), SMALL)
    assert len(journey.messages()) == 1


def test_merge_deletes_nothing(journey):
    """No reader is cut off."""
    entry = journey.save(KEY, SMALL, SMALL)
    before = journey.keys(entry.archive_id)
    journey.merge_all()
    assert set(before) < set(journey.keys(entry.archive_id))


def test_duplicate_message_merges_once(journey):
    journey.save(KEY, SMALL, SMALL)
    [message] = journey.messages()
    assert journey.services.merge(message, plenty) is RunEnd.MERGED
    assert journey.services.merge(message, plenty) is RunEnd.NOT_OURS


def test_outdated_claim_message_ends_quietly(journey):
    entry = journey.save(KEY, SMALL, SMALL)
    journey.messages()
    assert journey.services.merge(MergeMessage(entry.archive_id, "old"), plenty) is RunEnd.NOT_OURS
    assert journey.services.merge(MergeMessage("f" * 32, "unknown"), plenty) is RunEnd.NOT_OURS


def test_failed_run_aborts_upload_and_is_retried(journey, monkeypatch):
    entry = journey.save(KEY, BIG, BIG)
    [message] = journey.messages()
    with monkeypatch.context() as faults:
        faults.setattr(journey.services.bucket, "copy_part", lambda *_: fail(Unavailable("503")))
        with pytest.raises(Unavailable):
            journey.services.merge(message, plenty)
    uploads = journey.s3.list_multipart_uploads(Bucket=journey.services.settings.bucket)
    assert not uploads.get("Uploads")
    assert journey.archive(entry.archive_id).merge.state is MergeState.QUEUED
    assert journey.services.merge(message, plenty) is RunEnd.MERGED


def test_entry_survives_permanently_failed_merge(journey, monkeypatch):
    entry = journey.save(KEY, SMALL, SMALL)
    [message] = journey.messages()
    monkeypatch.setattr(journey.services.bucket, "upload_part", lambda *_: fail(Unavailable("503")))
    for _ in range(journey.services.settings.merge_attempts):
        with pytest.raises(Unavailable):
            journey.services.merge(message, plenty)
    assert journey.archive(entry.archive_id).merge.state is MergeState.FAILED
    assert journey.content(entry.archive_id) == SMALL + SMALL
    assert journey.look_up("npm-1") is not None


def test_worker_out_of_time_releases_run(journey):
    entry = journey.save(KEY, SMALL, SMALL)
    [message] = journey.messages()
    with pytest.raises(OutOfTime):
        journey.services.merge(message, lambda: 5000)
    assert journey.archive(entry.archive_id).merge.state is MergeState.QUEUED


def test_lost_run_is_never_published(journey, monkeypatch):
    """Another worker takes over, its lease expired, while the first one completes its upload."""
    entry = journey.save(KEY, SMALL, SMALL)
    [message] = journey.messages()
    complete = journey.services.bucket.complete_upload
    outcomes = []

    def overtaken(*args):
        monkeypatch.setattr(journey.services.bucket, "complete_upload", complete)
        journey.clock.advance(61)
        outcomes.append(journey.services.merge(message, plenty))
        complete(*args)

    monkeypatch.setattr(journey.services.bucket, "complete_upload", overtaken)
    assert journey.services.merge(message, plenty) is RunEnd.LOST
    assert outcomes == [RunEnd.MERGED]
    published = journey.archive(entry.archive_id).object.key
    assert len([key for key in journey.keys(entry.archive_id) if key.startswith("merged/")]) == 2
    journey.clock.advance(journey.services.settings.grace_seconds)
    journey.clean_up()
    assert journey.keys(entry.archive_id) == [published.partition(f"{entry.archive_id}/")[2]]


def test_missing_part_removes_entry(journey):
    """A reader gets the right bytes or a broken connection."""
    entry = journey.save(KEY, SMALL, SMALL)
    part = next(key for key in journey.keys(entry.archive_id) if key.startswith("parts/"))
    journey.services.bucket.delete([f"archives/{entry.archive_id}/{part}"])
    assert journey.merge_all() == [RunEnd.BROKEN]
    assert journey.look_up("npm-1") is None
    assert journey.archive(entry.archive_id).state is ArchiveState.DELETED


def test_replaced_part_is_never_merged(journey):
    """The ETag pins the bytes."""
    entry = journey.save(KEY, SMALL, SMALL)
    part = next(key for key in journey.keys(entry.archive_id) if key.startswith("parts/"))
    journey.overwrite(f"archives/{entry.archive_id}/{part}", b"X" * len(SMALL))
    assert journey.merge_all() == [RunEnd.BROKEN]
    assert journey.look_up("npm-1") is None


def test_entry_removed_during_merge_stays_removed(journey, monkeypatch):
    entry = journey.save(KEY, SMALL, SMALL)
    complete = journey.services.bucket.complete_upload

    def removed_meanwhile(*args):
        journey.services.remove_entry(entry.archive_id, lambda _: True)
        complete(*args)

    monkeypatch.setattr(journey.services.bucket, "complete_upload", removed_meanwhile)
    assert journey.merge_all() == [RunEnd.LOST]


def test_save_survives_unsent_merge_message(journey, monkeypatch):
    with monkeypatch.context() as faults:
        faults.setattr(journey.services.queue, "send", lambda _: fail(Unavailable("503")))
        entry = journey.save(KEY, SMALL, SMALL)
    assert journey.archive(entry.archive_id).merge.state is MergeState.UNMERGED
    journey.clock.advance(60)
    journey.clean_up()
    assert journey.merge_all() == [RunEnd.MERGED]


def test_lazy_trigger_claims_nothing_on_finalize(journey):
    settings = journey.services.settings.model_copy(update={"merge_trigger": "first-download"})
    lazy = Journey(AllServices(settings, journey.clock), journey.clock, journey.s3, journey.sqs)
    lazy.save(KEY, SMALL, SMALL)
    lazy.clock.advance(3600)
    lazy.clean_up()
    assert lazy.messages() == []
