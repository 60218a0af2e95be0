"""Each use case emits events about its work, with the metrics that they count for."""

from collections.abc import Sequence

import pytest

from actions_cache import events
from actions_cache.cost import CostPart
from actions_cache.domain.access import Caller
from actions_cache.domain.archive import MergeState
from actions_cache.events import RunEnd
from actions_cache.ports import MultipartUpload, Unavailable, UploadedPart
from dev.clients.driver import CacheDriver, fail, name, plenty
from dev.services import AllServices
from tests.support.fakes import RecordingTelemetry

KEY = name("npm-1")
ONE, TWO = b"1" * 1000, b"2" * 500


@pytest.fixture
def telemetry(driver: CacheDriver) -> RecordingTelemetry:
    """Record the events. It comes before any use case is made."""
    telemetry = RecordingTelemetry()
    driver.services.telemetry = telemetry
    return telemetry


def test_save_event_names_bytes_and_archive(driver, telemetry):
    entry = driver.save(KEY, ONE, TWO)
    assert telemetry.names == ["reserved", "saved", "merge claimed"]
    for event in telemetry.events:
        assert (event.fields["archive_id"], event.fields["repository"]) == (entry.archive_id, KEY.family.repository)
    driver.services.finalize(KEY, 1500)
    assert telemetry.counted(events.BYTES_UP) == [1500], "once"


def test_hit_event_names_bytes_and_request(driver, telemetry):
    entry = driver.save(KEY, ONE, TWO)
    driver.clock.advance(1)
    broken = driver.save(name("npm-2"), ONE)
    driver.services.bucket.delete([driver.archive(broken.archive_id).object.key])
    driver.look_up("npm-")
    counted = [telemetry.counted(metric) for metric in (events.HITS, events.BYTES_DOWN, events.MISSES)]
    assert counted == [[1], [1500], []], "the broken one is no miss"
    expected = {"requested_key": "npm-", "key": "npm-1", "archive_id": entry.archive_id}
    assert expected.items() <= telemetry.events[-1].fields.items()


CHANGED = "the entry's object was changed, so the entry was removed"
GONE = "the entry's object is gone, so the entry was removed"


@pytest.mark.parametrize("changed", [True, False])
def test_miss_event_names_its_reason(driver, telemetry, changed):
    driver.look_up("nothing")
    key = driver.archive(driver.save(KEY, ONE).archive_id).object.key
    if changed:
        driver.overwrite(key, b"other")
    else:
        driver.services.bucket.delete([key])
    assert driver.look_up("npm-1") is None
    assert telemetry.counted(events.MISSES) == ["no match", "broken"]
    assert telemetry.names[-3:-1] == ["entry removed", CHANGED if changed else GONE]


@pytest.mark.parametrize("kind", ["parts", "manifest"])
@pytest.mark.parametrize("changed", [True, False])
def test_merge_event_names_broken_object(driver, telemetry, kind, changed):
    entry = driver.save(KEY, ONE, TWO)
    [*_, key] = sorted(part.key for part in driver.services.bucket.list(f"archives/{entry.archive_id}/{kind}/"))
    if changed:
        driver.overwrite(key, b"other")
    else:
        driver.services.bucket.delete([key])
    driver.merge_all()
    [broken] = [event for event in telemetry.events if event.name.startswith("the entry's object")]
    assert (broken.name, broken.fields["object"]) == (CHANGED if changed else GONE, key)


def test_merge_event_counts_end_and_duration(driver, telemetry, monkeypatch):
    driver.save(KEY, ONE, TWO)
    complete = driver.services.bucket.complete_upload

    def slow(upload: MultipartUpload, parts: Sequence[UploadedPart]) -> None:
        driver.clock.advance(2)
        complete(upload, parts)

    monkeypatch.setattr(driver.services.bucket, "complete_upload", slow)
    driver.merge_all()
    assert telemetry.names[-2:] == ["merge started", "merged"]
    assert (telemetry.counted(events.MERGES), telemetry.counted(events.MERGE_DURATION)) == (["merged"], [2000])


def test_every_other_merge_end_is_counted(driver, telemetry, monkeypatch):
    driver.save(KEY, ONE, TWO)
    [message] = driver.messages()
    bucket = driver.services.bucket
    with monkeypatch.context() as faults:
        faults.setattr(bucket, "upload_part", lambda *_: fail(Unavailable("503")))
        for _ in range(driver.services.settings.merge_attempts):
            with pytest.raises(Unavailable):
                driver.services.merge(message, plenty)
    failure = telemetry.events[-1]
    assert isinstance(failure.error, Unavailable), "with its traceback"
    assert failure.is_error
    with pytest.raises(Exception, match="given up"):
        driver.services.merge(message, plenty)
    driver.clock.advance(24 * 3600)
    driver.clean_up()
    assert driver.merge_all()
    driver.services.merge(message, plenty)
    assert telemetry.counted(events.MERGES) == [*["failed"] * 5, "given up", "retaken", "merged", "not ours"]
    assert "merge retaken" in telemetry.names


def test_lost_and_broken_merges_are_counted(driver, telemetry, monkeypatch):
    entry = driver.save(KEY, ONE, TWO)
    complete = driver.services.bucket.complete_upload

    def removed_meanwhile(upload: MultipartUpload, parts: Sequence[UploadedPart]) -> None:
        driver.services.remove_entry(entry.archive_id, lambda _: True)
        complete(upload, parts)

    with monkeypatch.context() as faults:
        faults.setattr(driver.services.bucket, "complete_upload", removed_meanwhile)
        driver.merge_all()
    torn = driver.save(name("npm-2"), ONE, TWO)
    part = next(key for key in driver.keys(torn.archive_id) if key.startswith("parts/"))
    driver.services.bucket.delete([f"archives/{torn.archive_id}/{part}"])
    driver.merge_all()
    assert telemetry.counted(events.MERGES) == ["lost", "broken"]


def test_unclaimed_merge_fails_no_save(driver, telemetry, monkeypatch):
    with monkeypatch.context() as faults:
        faults.setattr(driver.services.queue, "send", lambda _: fail(Unavailable("503")))
        entry = driver.save(KEY, ONE, TWO)
    assert telemetry.names == ["reserved", "saved", "merge not claimed; the schedule will"]
    assert driver.archive(entry.archive_id).merge.state is MergeState.UNMERGED
    driver.clock.advance(60)
    driver.clean_up()
    assert driver.merge_all() == [RunEnd.MERGED]


def test_each_cleanup_task_emits_event(driver, telemetry):
    """A run that finds nothing to do emits none: a custom metric costs money for each hour that it is sent in."""
    driver.clean_up()
    driver.services.find_orphans(plenty)
    assert not [metric for event in telemetry.events for metric in event.metrics]
    entry = driver.save(KEY, ONE, TWO)
    driver.merge_all()
    for _ in range(10):
        driver.clock.advance(24 * 3600)
        driver.clean_up()
    about_entry = [event for event in telemetry.events if event.fields.get("archive_id") == entry.archive_id]
    cleanup = [event for event in about_entry if events.CLEANUP in event.metrics]
    tasks = [event.fields["task"] for event in cleanup]
    assert {"sweep", "expire the entry", "forget the archive"} == set(tasks)
    assert tasks[-1] == "forget the archive"
    assert {event.fields["repository"] for event in cleanup} == {KEY.family.repository}


def test_failed_cleanup_emits_event_with_error(driver, telemetry, monkeypatch):
    entry = driver.save(KEY, ONE, TWO)
    driver.merge_all()
    driver.clock.advance(3 * 3600)
    monkeypatch.setattr(driver.services.bucket, "list", lambda *_: fail(Unavailable("503")))
    driver.clean_up()
    [failure] = [event for event in telemetry.events if event.name == "cleanup failed on an archive"]
    assert (failure.fields["archive_id"], telemetry.counted(events.CLEANUP)) == (entry.archive_id, ["failed"])
    assert failure.is_error
    assert isinstance(failure.error, Unavailable)


def test_orphans_and_failed_listings_are_counted(driver, telemetry, monkeypatch):
    bucket = driver.services.bucket
    bucket.write_once(f"archives/{'0' * 32}/parts/blob/1", b"nobody's")
    with monkeypatch.context() as faults:
        faults.setattr(bucket, "delete", lambda _: fail(Unavailable("403")))
        driver.services.find_orphans(plenty)
    assert telemetry.counted(events.ORPHAN_LISTING_FAILURES) == [1]
    assert telemetry.events[-1].fields == {"archive_id": "0" * 32}
    for _ in range(2):
        driver.services.find_orphans(plenty)
        assert telemetry.counted(events.CLEANUP) == ["delete orphans"], "once, then nothing was left to delete"
    monkeypatch.setattr(bucket, "archive_ids", lambda _: fail(Unavailable("403")))
    with pytest.raises(Unavailable):
        driver.services.find_orphans(plenty)
    assert telemetry.counted(events.ORPHAN_LISTING_FAILURES) == [1, 1]


def test_eviction_event_names_entry_and_bytes(on_moto):
    telemetry = RecordingTelemetry()
    settings = on_moto.services.settings.model_copy(update={"repository_budget_bytes": 2500})
    services = AllServices(settings, on_moto.clock, telemetry=telemetry)
    services.session = on_moto.services.session
    driver = CacheDriver(services, on_moto.clock, on_moto.s3, on_moto.sqs)
    first = driver.save(name("npm-1"), ONE, TWO)
    driver.clock.advance(1)
    driver.save(name("npm-2"), ONE, TWO)
    [eviction] = [event for event in telemetry.events if events.EVICTIONS in event.metrics]
    assert (eviction.fields["archive_id"], eviction.fields["bytes"]) == (first.archive_id, 1500)


def test_storage_and_monthly_cost_are_emitted(driver, telemetry):
    driver.services.publish_cost()
    assert (telemetry.counted(events.STORED_BYTES), telemetry.counted(events.STORED_ENTRIES)) == ([0], [0])
    assert telemetry.counted(events.MONTH_COST) == [*CostPart]
    telemetry.events.clear()
    driver.services.note_repository(Caller(KEY.family.repository, ()))
    driver.save(KEY, ONE, TWO)
    driver.look_up("npm-1")
    driver.look_up("nothing")
    driver.services.publish_cost()
    assert (telemetry.counted(events.STORED_BYTES), telemetry.counted(events.STORED_ENTRIES)) == ([1500], [1])
    [stored] = [event for event in telemetry.events if event.name == "what is stored"]
    done = {"saves": 1, "hits": 1, "misses": 1, "bytes_saved": 1500, "bytes_restored": 1500, "hours": 168}
    assert done.items() <= stored.fields.items()

    assert telemetry.counted(events.MONTH_COST) == [*CostPart]
    month = [event.metrics[events.MONTH_COST] for event in telemetry.events if events.MONTH_COST in event.metrics]
    assert sum(month) == stored.fields["month_usd"] == driver.services.publish_cost.estimate_cost(168).month.total
    assert all(usd > 0 for usd in month)
