"""P7: objects that the table forgot are found in the bucket; all others stay."""

import pytest

from actions_cache.domain.entry import EntryFamily, EntryName
from actions_cache.ports import Unavailable
from actions_cache.usecases import find_orphans
from tests.journey import Journey, plenty

NAME = EntryName(EntryFamily("1", "refs/heads/main", "v"), "key")


def orphan(journey: Journey, first_digit: str) -> str:
    archive_id = first_digit * 32
    for number in range(2):
        journey.control.bucket.write_once(f"archives/{archive_id}/parts/blob/{number}", b"nobody's")
    return archive_id


def left(journey: Journey) -> set[str]:
    return set(journey.control.bucket.archive_ids(""))


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_what_no_archive_owns_is_deleted_wherever_it_begins_and_nothing_else(journey: Journey, monkeypatch, batch: int):
    monkeypatch.setattr(find_orphans, "BATCH", batch)
    saved = journey.save(NAME, b"a", b"b").archive_id
    for digit in "0f":
        orphan(journey, digit)

    done = journey.control.find_orphans(plenty)

    assert left(journey) == {saved}
    assert done == {"archives seen": 3, "orphaned archives deleted": 2}
    assert journey.control.find_orphans(plenty) == {"archives seen": 1, "orphaned archives deleted": 0}


def test_an_upload_that_was_only_reserved_is_no_orphan(journey: Journey):
    archive_id = journey.upload(NAME, b"a", b"b")
    journey.control.find_orphans(plenty)
    assert left(journey) == {archive_id}


def test_a_run_without_time_deletes_nothing(journey: Journey):
    archive_id = orphan(journey, "5")
    assert journey.control.find_orphans(lambda: find_orphans.DEADLINE_MARGIN - 1) == {"left for another run": 1}
    assert left(journey) == {archive_id}


def test_a_table_that_doesnt_answer_costs_no_object(journey: Journey, monkeypatch):
    archive_id = orphan(journey, "5")

    def out_of_order(ids: list[str]) -> frozenset[str]:
        raise Unavailable("503")

    monkeypatch.setattr(journey.control.table, "known_archives", out_of_order)
    with pytest.raises(Unavailable):
        journey.control.find_orphans(plenty)
    assert left(journey) == {archive_id}


def test_on_a_real_store_ids_are_listed_from_any_one_on(on_engines: Journey):
    ids = [orphan(on_engines, digit) for digit in "07f"]
    bucket = on_engines.control.bucket
    assert list(bucket.archive_ids("")) == ids
    assert list(bucket.archive_ids(ids[0])) == ids[1:]
    assert list(bucket.archive_ids("70")) == ids[1:]
    assert list(bucket.archive_ids(ids[2])) == []
    saved = on_engines.save(NAME, b"a", b"b").archive_id
    assert on_engines.control.table.known_archives([saved, *ids]) == {saved}
    on_engines.control.find_orphans(plenty)
    # SeaweedFS goes on listing the empty folders.
    assert {part.key.split("/")[1] for part in bucket.list("")} == {saved}
