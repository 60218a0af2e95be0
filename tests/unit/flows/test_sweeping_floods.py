"""The guarantees hold in a flood: an archive with very many objects takes no other's turn, and goes in the end."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest

from actions_cache import cleanup
from actions_cache.domain.archive import ArchiveState
from actions_cache.domain.timing import SECOND
from actions_cache.domain.uploads import MAX_ARRIVALS
from actions_cache.events import BYTES_DISCARDED
from functions.cleanup import handler
from tests.support.flood import Flooded, Heap, Killed, due_at
from tests.unit.domain.build import LIFETIMES, archive, stored_archive

SCALE = 100
"""Objects that each one stands for, so that a page of ten takes as long as one of a thousand."""

TIMEOUT, INTERVAL = 110, 300
"""Seconds until the function's timeout, and between its runs."""

HOUR = 3600 * SECOND
SHARDS = "0123456789abcdef"


@pytest.fixture(autouse=True)
def small_pages(monkeypatch):
    monkeypatch.setattr("actions_cache.archives.PAGE", 1000 // SCALE)


def id_of(shard, number):
    return shard + f"{number:031x}"


def at(flooded, made, **changes):
    """Return the archive as if it were made now."""
    now = flooded.clock.at
    return replace(
        made,
        reserved_at=now,
        reservation_expires_at=now + LIFETIMES.reservation,
        upload_closes_at=now + LIFETIMES.upload_url,
        **changes,
    )


def run_by_schedule(flooded, monkeypatch):
    """Run the function once, in Lambda's time. Return whether it was killed, and which archives had a turn."""
    began = flooded.clock.at
    turns: Counter[str] = Counter()
    flooded.line.killed_at = began + TIMEOUT * SECOND

    def evict(is_time_left: Callable[[], bool], _begin: float) -> int:
        turns["evict"] += is_time_left()
        return 0

    def migrate(remaining: Callable[[], int]) -> Counter[str]:
        turns["migrate"] += remaining() > 10 * SECOND
        return Counter()

    services = SimpleNamespace(clean_up=flooded.clean_up, evict=SimpleNamespace(everywhere=evict), migrate=migrate)
    monkeypatch.setattr(handler, "services", lambda: services)
    killed = False
    try:
        handler._clean_up(flooded.remaining_of(TIMEOUT))
    except Killed:
        killed = True
    flooded.line.killed_at = None
    flooded.clock.at = began + INTERVAL * SECOND
    return killed, turns


def test_floods_delay_no_other_archive(monkeypatch):
    """Each shard of the agenda has one, of 800,000 objects; half of them have 50,000 parts that are kept."""
    flooded = Flooded()
    for shard in SHARDS[::2]:
        flood = archive(id=id_of(shard, 0))
        flooded.add(at(flooded, flood), Heap(800_000 // SCALE))
    for shard in SHARDS[1::2]:
        flood = stored_archive(id=id_of(shard, 0), last_used_at=flooded.clock.at + 99 * HOUR)
        flooded.add(at(flooded, flood), Heap(850_000 // SCALE, kept=50_000 // SCALE))
    others = {}
    for number in range(1, 11):
        for shard in SHARDS:
            other = stored_archive(
                id=id_of(shard, number),
                state=ArchiveState.DELETED,
                upload_closes_at=flooded.clock.at - 2 * HOUR,
                swept_at=flooded.clock.at,
                deleted_at=flooded.clock.at + number * HOUR // 2,
            )
            flooded.add(other, Heap(3))
            others[other.id] = due_at(flooded.table.rows[other.id])
    waited = []
    runs = 0
    while flooded.bucket.left() and runs < 24 * 3600 // INTERVAL:
        runs += 1
        killed, turns = run_by_schedule(flooded, monkeypatch)
        assert not killed
        assert turns == {"evict": 1, "migrate": 1}
        for archive_id, due in list(others.items()):
            heap = flooded.bucket.heaps[archive_id]
            if heap.gone == heap.count:
                waited.append(flooded.clock.at - due)
                del others[archive_id]
    assert flooded.bucket.left() == 0
    assert others == {}
    assert max(waited) <= 2 * INTERVAL * SECOND, "each was gone with the first run after its time"
    assert 100 < runs < 200, "runs of five minutes each: twelve hours or so"


@pytest.mark.parametrize("kept", [0, 25, 50_000 // SCALE])
def test_killed_run_is_followed_by_other_archives(monkeypatch, kept):
    """It runs out of memory, say, whenever it reads this archive."""
    flooded = Flooded()
    poison, other = (stored_archive(id=id_of("0", number)) for number in (0, 1))
    flooded.add(at(flooded, poison), Heap(800_000 // SCALE, kept=kept))
    flooded.add(at(flooded, other), Heap(5, kept=2))
    flooded.clock.at += 2 * HOUR
    listed = flooded.bucket.list

    def deadly(prefix, after=""):
        if poison.id in prefix:
            raise Killed
        return listed(prefix, after)

    monkeypatch.setattr(flooded.bucket, "list", deadly)
    outcomes = [run_by_schedule(flooded, monkeypatch)[0] for _ in range(4)]
    assert outcomes.count(True) >= 2, "it is tried again, and again"
    assert flooded.bucket.heaps[other.id].gone == 3


SMALL = {
    "a sweep": (lambda: stored_archive(id=id_of("0", 0), last_used_at=10**14), Heap(47, kept=15), 2 * HOUR, 15),
    "an upload that is closed": (lambda: archive(id=id_of("0", 0)), Heap(47, size=1), 300 * SECOND, 0),
    "a reservation that expired": (lambda: archive(id=id_of("0", 0)), Heap(27), HOUR, 0),
}


@pytest.mark.parametrize("slice_of", [cleanup.SLICE, 0])
@pytest.mark.parametrize("after_it", [False, True])
@pytest.mark.parametrize("of", SMALL)
def test_crash_at_any_call_is_recovered(monkeypatch, of, after_it, slice_of):
    monkeypatch.setattr(cleanup, "SLICE", slice_of)
    calls = 1
    for dies_at in range(1, 200):
        make, heap, due_in, left = SMALL[of]
        flooded = Flooded(open_upload_bytes=20)
        flooded.add(at(flooded, make()), replace(heap))
        flooded.clock.at += due_in
        flooded.line.dies_at, flooded.line.after_it = dies_at, after_it
        killed, _ = run_by_schedule(flooded, monkeypatch)
        calls = flooded.line.calls
        flooded.line.dies_at = None
        for _ in range(3 * 12):
            assert not run_by_schedule(flooded, monkeypatch)[0]
        assert flooded.bucket.left() == 0
        assert flooded.bucket.heaps[id_of("0", 0)].kept == left
        assert set(flooded.table.rows) == ({id_of("0", 0)} if left else set())
        assert flooded.table.reservations == set()
        if not killed:
            break
    assert calls < dies_at, "each call was the last one once"
    assert calls > 10


def test_oversized_upload_is_closed_and_reported(monkeypatch):
    flooded = Flooded(open_upload_bytes=100)
    flooded.add(at(flooded, archive(id=id_of("0", 0))), Heap(100, size=1))
    flooded.add(at(flooded, archive(id=id_of("1", 0))), Heap(101, size=1))
    flooded.clock.at += 300 * SECOND
    run_by_schedule(flooded, monkeypatch)
    assert flooded.bucket.left() == 100
    assert [row.state for row in flooded.table.rows.values()] == [ArchiveState.RESERVED, ArchiveState.DELETED]
    assert flooded.table.reservations == {id_of("0", 0)}, "the key is free again"
    [closed] = [it for it in flooded.told.happenings if "closed" in it.name]
    assert closed.is_error
    assert closed.fields["repository"] == "42"
    assert (closed.fields["archive_id"], closed.fields["bytes"]) == (id_of("1", 0), 101)
    assert flooded.told.counted(BYTES_DISCARDED) == [101]


def test_arrivals_at_closed_upload_are_swept(monkeypatch):
    flooded = Flooded(open_upload_bytes=100)
    flooded.add(at(flooded, archive(id=id_of("0", 0))), Heap(101, size=1))
    for _ in range(2 * 12):
        heap = flooded.bucket.heaps[id_of("0", 0)]
        run_by_schedule(flooded, monkeypatch)
        flooded.bucket.heaps[id_of("0", 0)] = replace(heap, count=heap.count + 40)
    assert flooded.bucket.left() <= 80
    assert (
        sum(it.metrics[BYTES_DISCARDED] for it in flooded.told.happenings if BYTES_DISCARDED in it.metrics)
        >= 101 + 20 * 40
    )


def test_too_many_objects_close_upload(monkeypatch):
    monkeypatch.setattr("actions_cache.domain.cleanup_schedule.MAX_ARRIVALS", MAX_ARRIVALS // SCALE)
    flooded = Flooded()
    flooded.add(at(flooded, archive(id=id_of("0", 0))), Heap(MAX_ARRIVALS // SCALE + 1))
    flooded.add(at(flooded, archive(id=id_of("1", 0))), Heap(MAX_ARRIVALS // SCALE))
    flooded.clock.at += 300 * SECOND
    run_by_schedule(flooded, monkeypatch)
    assert [row.state for row in flooded.table.rows.values()] == [ArchiveState.DELETED, ArchiveState.RESERVED]
