"""An archive is merged once, and stays claimable whatever fails."""

import threading
from dataclasses import replace

import pytest

from actions_cache.archives import transition
from actions_cache.domain import claim
from actions_cache.domain.archive import ArchiveState, MergeState
from actions_cache.domain.merge_plan import MIB
from actions_cache.events import RunEnd
from actions_cache.merge import OutOfTime
from actions_cache.ports import MergeMessage, Unavailable, WriteConflict, WrongBytes
from dev.clients.driver import CacheDriver, fail, name, plenty
from dev.services import AllServices

KEY = name("npm-1")
BIG, SMALL = b"B" * (5 * MIB), b"s" * 1000


@pytest.mark.parametrize(
    "parts",
    [(BIG, BIG), (BIG, SMALL), (SMALL, BIG, SMALL), (SMALL,) * 30, (BIG, SMALL, SMALL, BIG + SMALL, BIG)],
    ids=["copied", "copied, last one short", "topped up", "gathered", "mixed"],
)
def test_merged_object_joins_parts_in_order(driver, parts):
    entry = driver.save(KEY, *parts)
    assert driver.merge_all() == [RunEnd.MERGED]
    assert driver.archive(entry.archive_id).merge.state is MergeState.MERGED
    assert driver.content(entry.archive_id) == b"".join(parts)


@pytest.mark.parametrize(
    ("parts", "method"), [((BIG, BIG), "copy_part"), ((SMALL, SMALL), "upload_part")], ids=["copied", "uploaded"]
)
def test_other_bytes_are_never_merged(driver, monkeypatch, parts, method):
    """Their ETag shows them."""
    entry, bucket = driver.save(KEY, *parts), driver.services.bucket
    done = getattr(bucket, method)
    monkeypatch.setattr(bucket, method, lambda *step: replace(done(*step), etag=f'"{"0" * 32}"'))
    [message] = driver.messages()
    with pytest.raises(WrongBytes):
        driver.services.merge(message, plenty)
    assert driver.archive(entry.archive_id).merge.state is MergeState.QUEUED


def test_upload_sources_are_read_concurrently(driver, monkeypatch):
    """Read one after the other, each would wait for the store's first byte."""
    entry = driver.save(KEY, *[SMALL] * 4)
    read, all_requested = driver.services.bucket.read, threading.Barrier(4)

    def read_together(source):
        if "/parts/" in source.part.key:
            all_requested.wait(timeout=10)
        return read(source)

    monkeypatch.setattr(driver.services.bucket, "read", read_together)
    assert driver.merge_all() == [RunEnd.MERGED]
    assert driver.content(entry.archive_id) == SMALL * 4


def test_merge_deletes_nothing(driver):
    """Readers of the parts aren't cut off."""
    entry = driver.save(KEY, SMALL, SMALL)
    before = driver.keys(entry.archive_id)
    driver.merge_all()
    assert set(before) < set(driver.keys(entry.archive_id))


def test_only_current_claim_is_merged_and_once(driver):
    entry = driver.save(KEY, SMALL, SMALL)
    driver.services.finalize(KEY, 2000)
    driver.save(name("npm-2"), SMALL)
    [message] = driver.messages()
    assert driver.services.merge(MergeMessage(entry.archive_id, "old"), plenty) is RunEnd.NOT_OURS
    assert driver.services.merge(MergeMessage("f" * 32, "unknown"), plenty) is RunEnd.NOT_OURS
    with pytest.raises(OutOfTime):
        driver.services.merge(message, lambda: 5000)
    assert driver.archive(entry.archive_id).merge.state is MergeState.QUEUED, "a worker out of time releases its run"
    assert driver.services.merge(message, plenty) is RunEnd.MERGED
    assert driver.services.merge(message, plenty) is RunEnd.NOT_OURS


def test_failed_run_aborts_upload_and_is_retried(driver, monkeypatch):
    entry = driver.save(KEY, BIG, BIG)
    [message] = driver.messages()
    with monkeypatch.context() as faults:
        faults.setattr(driver.services.bucket, "copy_part", lambda *_: fail(Unavailable("503")))
        with pytest.raises(Unavailable):
            driver.services.merge(message, plenty)
    uploads = driver.s3.list_multipart_uploads(Bucket=driver.services.settings.bucket)
    assert not uploads.get("Uploads")
    assert driver.archive(entry.archive_id).merge.state is MergeState.QUEUED
    assert driver.services.merge(message, plenty) is RunEnd.MERGED


def test_entry_survives_permanently_failed_merge(driver, monkeypatch):
    entry = driver.save(KEY, SMALL, SMALL)
    [message] = driver.messages()
    monkeypatch.setattr(driver.services.bucket, "upload_part", lambda *_: fail(Unavailable("503")))
    for _ in range(driver.services.settings.merge_attempts):
        with pytest.raises(Unavailable):
            driver.services.merge(message, plenty)
    assert driver.archive(entry.archive_id).merge.state is MergeState.FAILED
    assert driver.content(entry.archive_id) == SMALL + SMALL
    assert driver.look_up("npm-1") is not None


def test_lost_run_is_never_published(driver, monkeypatch):
    """The first run's lease expires while it completes its upload, and another worker takes over."""
    entry = driver.save(KEY, SMALL, SMALL)
    [message] = driver.messages()
    complete = driver.services.bucket.complete_upload
    outcomes = []

    def overtaken(*args):
        complete(*args)
        monkeypatch.setattr(driver.services.bucket, "complete_upload", complete)
        driver.clock.advance(61)
        outcomes.append(driver.services.merge(message, plenty))

    monkeypatch.setattr(driver.services.bucket, "complete_upload", overtaken)
    assert driver.services.merge(message, plenty) is RunEnd.LOST
    assert outcomes == [RunEnd.MERGED]
    published = driver.archive(entry.archive_id).object.key
    assert len([key for key in driver.keys(entry.archive_id) if key.startswith("merged/")]) == 2
    driver.clock.advance(driver.services.settings.grace_seconds)
    driver.clean_up()
    assert driver.keys(entry.archive_id) == [published.partition(f"{entry.archive_id}/")[2]]


def test_lost_run_ends_at_its_next_renewal(driver, monkeypatch):
    """Another run takes over during a copy."""
    entry, bucket, services = driver.save(KEY, BIG, BIG), driver.services.bucket, driver.services
    [message] = driver.messages()
    renew, copy, was_renewed = claim.renewed, bucket.copy_part, threading.Event()

    def renewed(*args):
        now = renew(*args)
        was_renewed.set()
        return now

    def start_another(seen):
        later = driver.clock.now() + services.lifetimes.merge_lease
        return claim.started(seen, message.claim_token, "another", later, services.lifetimes, 5)

    def overtaken(upload, number, source):
        if number == 1:
            assert transition(services.table, entry.archive_id, start_another)
            was_renewed.clear()
            assert was_renewed.wait(10)
        return copy(upload, number, source)

    monkeypatch.setattr(claim, "renewed", renewed)
    monkeypatch.setattr(bucket, "copy_part", overtaken)
    renewing_often = replace(services.lifetimes, merge_lease=30)
    assert replace(services.merge, lifetimes=renewing_often)(message, plenty) is RunEnd.LOST
    assert [key for key in driver.keys(entry.archive_id) if key.startswith("merged/")] == []


@pytest.mark.parametrize("is_replaced", [False, True], ids=["missing", "replaced"])
def test_missing_or_replaced_part_removes_entry(driver, is_replaced):
    """The merge must not publish other bytes than were saved; the part's ETag stands for its bytes."""
    entry = driver.save(KEY, SMALL, SMALL)
    part = next(key for key in driver.keys(entry.archive_id) if key.startswith("parts/"))
    if is_replaced:
        driver.overwrite(f"archives/{entry.archive_id}/{part}", b"X" * len(SMALL))
    else:
        driver.services.bucket.delete([f"archives/{entry.archive_id}/{part}"])
    assert driver.merge_all() == [RunEnd.BROKEN]
    assert driver.look_up("npm-1") is None
    assert driver.archive(entry.archive_id).state is ArchiveState.DELETED


def test_lazy_trigger_claims_nothing_on_finalize(driver):
    settings = driver.services.settings.model_copy(update={"merge_trigger": "first-download"})
    lazy = CacheDriver(AllServices(settings, driver.clock), driver.clock, driver.s3, driver.sqs)
    lazy.save(KEY, SMALL, SMALL)
    lazy.clock.advance(3600)
    lazy.clean_up()
    assert lazy.messages() == []


def test_lost_claim_response_still_sends_message(driver, monkeypatch):
    """botocore asks again after a timeout, and the retry meets its own first write."""
    with monkeypatch.context() as before:
        before.setattr(claim, "claimed", lambda *_: None)
        entry = driver.save(KEY, b"one", b"two")
    table = driver.services.table
    written = table.replace_archive

    def answer_lost(seen, by):
        monkeypatch.setattr(table, "replace_archive", written)
        written(seen, by)
        raise WriteConflict

    monkeypatch.setattr(table, "replace_archive", answer_lost)
    assert driver.services.claim_merge(entry.archive_id)
    assert len(driver.messages()) == 1
