"""What each use case tells of its work, and counts."""

from collections.abc import Sequence

import pytest

from actions_cache.cost import CostPart
from actions_cache.domain.access import Caller
from actions_cache.events import (
    BYTES_DOWN,
    BYTES_UP,
    CLEANUP,
    EVICTIONS,
    HITS,
    MERGE_DURATION,
    MERGES,
    MISSES,
    MONTH_COST,
    ORPHAN_LISTING_FAILURES,
    STORED_BYTES,
    STORED_ENTRIES,
)
from actions_cache.ports import MultipartUpload, Unavailable, UploadedPart
from dev.services import AllServices
from tests.support.journey import Journey, fail, name, plenty
from tests.support.told import Told

KEY = name("npm-1")
ONE, TWO = b"1" * 1000, b"2" * 500


@pytest.fixture
def told(journey: Journey) -> Told:
    """Before any use case is made."""
    told = Told()
    journey.services.telemetry = told
    return told


def test_save_event_names_bytes_and_archive(journey: Journey, told: Told):
    entry = journey.save(KEY, ONE, TWO)
    assert told.words == ["reserved", "saved", "merge claimed"]
    assert told.counted(BYTES_UP) == [1500]
    for it in told.happenings:
        assert (it.fields["archive_id"], it.fields["repository"]) == (entry.archive_id, KEY.family.repository)


def test_repeated_finalize_counts_once(journey: Journey, told: Told):
    journey.save(KEY, ONE, TWO)
    journey.services.finalize(KEY, 1500)
    assert told.counted(BYTES_UP) == [1500]


def test_hit_event_names_bytes_and_request(journey: Journey, told: Told):
    entry = journey.save(KEY, ONE, TWO)
    journey.look_up("npm-")
    hit = told.happenings[-1]
    assert told.counted(HITS) == [1]
    assert told.counted(BYTES_DOWN) == [1500]
    assert (hit.fields["requested_key"], hit.fields["key"], hit.fields["archive_id"]) == (
        "npm-",
        "npm-1",
        entry.archive_id,
    )


def test_miss_event_names_its_reason(journey: Journey, told: Told):
    journey.look_up("nothing")
    entry = journey.save(KEY, ONE)
    journey.services.bucket.delete([journey.archive(entry.archive_id).object.key])
    journey.look_up("npm-1")
    assert told.counted(MISSES) == ["no match", "broken"]
    assert told.words[-3:-1] == ["entry removed", "the entry's object is gone, so the entry was removed"]


CHANGED = "the entry's object was changed, so the entry was removed"


def test_changed_object_differs_from_missing_one(journey: Journey, told: Told):
    """A lookup finds it in the one object of an archive, merged or of one part."""
    entry = journey.save(KEY, ONE)
    journey.overwrite(journey.archive(entry.archive_id).object.key, b"other")
    assert journey.look_up("npm-1") is None
    assert told.words[-3:-1] == ["entry removed", CHANGED]


@pytest.mark.parametrize("kind", ["parts", "manifest"])
@pytest.mark.parametrize("changed", [True, False])
def test_merge_event_names_broken_object(journey: Journey, told: Told, kind: str, *, changed: bool):
    entry = journey.save(KEY, ONE, TWO)
    [*_, key] = sorted(it.key for it in journey.services.bucket.list(f"archives/{entry.archive_id}/{kind}/"))
    if changed:
        journey.overwrite(key, b"other")
    else:
        journey.services.bucket.delete([key])
    journey.merge_all()
    [broken] = [it for it in told.happenings if it.name.startswith("the entry's object")]
    assert broken.name == (CHANGED if changed else "the entry's object is gone, so the entry was removed")
    assert broken.fields["object"] == key


def test_hit_after_broken_entry_is_no_miss(journey: Journey, told: Told):
    journey.save(KEY, ONE)
    journey.clock.advance(1)
    broken = journey.save(name("npm-2"), ONE)
    journey.services.bucket.delete([journey.archive(broken.archive_id).object.key])
    journey.look_up("npm-")
    assert (told.counted(HITS), told.counted(MISSES)) == ([1], [])


def test_merge_event_counts_end_and_duration(journey: Journey, told: Told, monkeypatch: pytest.MonkeyPatch):
    journey.save(KEY, ONE, TWO)
    complete = journey.services.bucket.complete_upload

    def slow(upload: MultipartUpload, parts: Sequence[UploadedPart]) -> None:
        journey.clock.advance(2)
        complete(upload, parts)

    monkeypatch.setattr(journey.services.bucket, "complete_upload", slow)
    journey.merge_all()
    assert told.words[-2:] == ["merge started", "merged"]
    assert (told.counted(MERGES), told.counted(MERGE_DURATION)) == (["merged"], [2000])


def test_every_other_merge_end_is_counted(journey: Journey, told: Told, monkeypatch: pytest.MonkeyPatch):
    journey.save(KEY, ONE, TWO)
    [message] = journey.messages()
    bucket = journey.services.bucket
    with monkeypatch.context() as faults:
        faults.setattr(bucket, "upload_part", lambda *_: fail(Unavailable("503")))
        for _ in range(journey.services.settings.merge_attempts):
            with pytest.raises(Unavailable):
                journey.services.merge(message, plenty)
    failure = told.happenings[-1]
    assert isinstance(failure.error, Unavailable), "with where it came from"
    assert failure.is_error
    with pytest.raises(Exception, match="given up"):
        journey.services.merge(message, plenty)
    journey.clock.advance(24 * 3600)
    journey.clean_up()
    assert journey.merge_all()
    journey.services.merge(message, plenty)
    assert told.counted(MERGES) == [*["failed"] * 5, "given up", "retaken", "merged", "not ours"]
    assert "merge retaken" in told.words


def test_lost_and_broken_merges_are_counted(journey: Journey, told: Told, monkeypatch: pytest.MonkeyPatch):
    entry = journey.save(KEY, ONE, TWO)
    complete = journey.services.bucket.complete_upload

    def removed_meanwhile(upload: MultipartUpload, parts: Sequence[UploadedPart]) -> None:
        journey.services.remove_entry(entry.archive_id, lambda _: True)
        complete(upload, parts)

    with monkeypatch.context() as faults:
        faults.setattr(journey.services.bucket, "complete_upload", removed_meanwhile)
        journey.merge_all()
    torn = journey.save(name("npm-2"), ONE, TWO)
    part = next(key for key in journey.keys(torn.archive_id) if key.startswith("parts/"))
    journey.services.bucket.delete([f"archives/{torn.archive_id}/{part}"])
    journey.merge_all()
    assert told.counted(MERGES) == ["lost", "broken"]


def test_unclaimed_merge_fails_no_save(journey: Journey, told: Told, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(journey.services.queue, "send", lambda _: fail(Unavailable("503")))
    journey.save(KEY, ONE, TWO)
    assert told.words == ["reserved", "saved", "merge not claimed; the schedule will"]


def test_each_cleanup_task_emits_event(journey: Journey, told: Told):
    entry = journey.save(KEY, ONE, TWO)
    journey.merge_all()
    for _ in range(40):
        journey.clock.advance(6 * 3600)
        journey.clean_up()
    of_it = [it for it in told.happenings if it.fields.get("archive_id") == entry.archive_id and CLEANUP in it.metrics]
    tasks = [it.fields["task"] for it in of_it]
    assert {"sweep", "expire the entry", "forget the archive"} == set(tasks)
    assert tasks[-1] == "forget the archive"
    assert {it.fields["repository"] for it in of_it} == {KEY.family.repository}


def test_failed_cleanup_emits_event_with_error(journey: Journey, told: Told, monkeypatch: pytest.MonkeyPatch):
    entry = journey.save(KEY, ONE, TWO)
    journey.merge_all()
    journey.clock.advance(3 * 3600)
    monkeypatch.setattr(journey.services.bucket, "list", lambda *_: fail(Unavailable("503")))
    journey.clean_up()
    [failure] = [it for it in told.happenings if it.name == "cleanup failed on an archive"]
    assert (failure.fields["archive_id"], told.counted(CLEANUP)) == (entry.archive_id, ["failed"])
    assert failure.is_error
    assert isinstance(failure.error, Unavailable)


def test_orphans_and_failed_listings_are_counted(journey: Journey, told: Told, monkeypatch: pytest.MonkeyPatch):
    journey.services.bucket.write_once(f"archives/{'0' * 32}/parts/blob/1", b"nobody's")
    journey.services.find_orphans(plenty)
    assert (told.counted(CLEANUP), told.counted(ORPHAN_LISTING_FAILURES)) == (["delete orphans"], [])
    journey.services.find_orphans(plenty)
    assert told.counted(CLEANUP) == ["delete orphans"], "there was nothing any more"
    monkeypatch.setattr(journey.services.bucket, "archive_ids", lambda _: fail(Unavailable("403")))
    with pytest.raises(Unavailable):
        journey.services.find_orphans(plenty)
    assert told.counted(ORPHAN_LISTING_FAILURES) == [1]


def test_undeletable_orphan_counts_as_listing_failure(journey: Journey, told: Told, monkeypatch: pytest.MonkeyPatch):
    journey.services.bucket.write_once(f"archives/{'0' * 32}/parts/blob/1", b"nobody's")
    monkeypatch.setattr(journey.services.bucket, "delete", lambda _: fail(Unavailable("403")))
    journey.services.find_orphans(plenty)
    assert told.counted(ORPHAN_LISTING_FAILURES) == [1]
    assert told.happenings[-1].fields == {"archive_id": "0" * 32}


def test_eviction_event_names_entry_and_bytes(on_moto: Journey):
    told = Told()
    settings = on_moto.services.settings.model_copy(update={"repository_budget_bytes": 2500})
    services = AllServices(settings, on_moto.clock, telemetry=told)
    services.session = on_moto.services.session
    journey = Journey(services, on_moto.clock, on_moto.s3, on_moto.sqs)
    first = journey.save(name("npm-1"), ONE, TWO)
    journey.clock.advance(1)
    journey.save(name("npm-2"), ONE, TWO)
    [eviction] = [it for it in told.happenings if EVICTIONS in it.metrics]
    assert (eviction.fields["archive_id"], eviction.fields["bytes"]) == (first.archive_id, 1500)


def test_storage_and_monthly_cost_are_emitted(journey: Journey, told: Told):
    journey.services.admit(Caller(KEY.family.repository, ()))
    journey.save(KEY, ONE, TWO)
    journey.look_up("npm-1")
    journey.look_up("nothing")
    journey.services.publish_cost()
    assert (told.counted(STORED_BYTES), told.counted(STORED_ENTRIES)) == ([1500], [1])
    [stored] = [it for it in told.happenings if it.name == "what is stored"]
    assert (stored.fields["saves"], stored.fields["hits"], stored.fields["misses"]) == (1, 1, 1)
    assert (stored.fields["bytes_saved"], stored.fields["bytes_restored"], stored.fields["hours"]) == (1500, 1500, 168)

    assert told.counted(MONTH_COST) == [*CostPart]
    month = [it.metrics[MONTH_COST] for it in told.happenings if MONTH_COST in it.metrics]
    assert sum(month) == stored.fields["month_usd"] == journey.services.publish_cost.estimate_cost(168).month.total
    assert all(usd > 0 for usd in month)


def test_empty_store_emits_zero(journey: Journey, told: Told):
    journey.services.publish_cost()
    assert (told.counted(STORED_BYTES), told.counted(STORED_ENTRIES)) == ([0], [0])
    assert told.counted(MONTH_COST) == [*CostPart]


def test_idle_runs_emit_no_metrics(journey: Journey, told: Told):
    """A custom metric costs for each hour it is sent in."""
    journey.clean_up()
    journey.services.find_orphans(plenty)
    assert not [metric for it in told.happenings for metric in it.metrics]
