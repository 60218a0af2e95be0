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
from tests.support.cleanup_simulation import ArchiveObjects, CleanupSimulation, Crashed, due_at
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


def at(simulation, made, **changes):
    """Return the archive as if it were made now."""
    now = simulation.clock.at
    return replace(
        made,
        reserved_at=now,
        reservation_expires_at=now + LIFETIMES.reservation,
        upload_closes_at=now + LIFETIMES.upload_url,
        **changes,
    )


def run_by_schedule(simulation, monkeypatch):
    """Run the function once, in Lambda's time. Return whether it was crashed, and which archives had a turn."""
    began = simulation.clock.at
    turns: Counter[str] = Counter()
    simulation.calls.timeout_at = began + TIMEOUT * SECOND

    def evict(is_time_left: Callable[[], bool], _begin: float) -> int:
        turns["evict"] += is_time_left()
        return 0

    def migrate(remaining: Callable[[], int]) -> Counter[str]:
        turns["migrate"] += remaining() > 10 * SECOND
        return Counter()

    services = SimpleNamespace(clean_up=simulation.clean_up, evict=SimpleNamespace(everywhere=evict), migrate=migrate)
    monkeypatch.setattr(handler, "services", lambda: services)
    crashed = False
    try:
        handler._clean_up(simulation.remaining_of(TIMEOUT))
    except Crashed:
        crashed = True
    simulation.calls.timeout_at = None
    simulation.clock.at = began + INTERVAL * SECOND
    return crashed, turns


def test_floods_delay_no_other_archive(monkeypatch):
    """Each shard of the agenda has one, of 800,000 objects; half of them have 50,000 parts that are kept."""
    simulation = CleanupSimulation()
    for shard in SHARDS[::2]:
        flood = archive(id=id_of(shard, 0))
        simulation.add(at(simulation, flood), ArchiveObjects(800_000 // SCALE))
    for shard in SHARDS[1::2]:
        flood = stored_archive(id=id_of(shard, 0), last_used_at=simulation.clock.at + 99 * HOUR)
        simulation.add(at(simulation, flood), ArchiveObjects(850_000 // SCALE, kept=50_000 // SCALE))
    others = {}
    for number in range(1, 11):
        for shard in SHARDS:
            other = stored_archive(
                id=id_of(shard, number),
                state=ArchiveState.DELETED,
                upload_closes_at=simulation.clock.at - 2 * HOUR,
                swept_at=simulation.clock.at,
                deleted_at=simulation.clock.at + number * HOUR // 2,
            )
            simulation.add(other, ArchiveObjects(3))
            others[other.id] = due_at(simulation.table.rows[other.id])
    waited = []
    runs = 0
    while simulation.bucket.left() and runs < 24 * 3600 // INTERVAL:
        runs += 1
        crashed, turns = run_by_schedule(simulation, monkeypatch)
        assert not crashed
        assert turns == {"evict": 1, "migrate": 1}
        for archive_id, due in list(others.items()):
            objects = simulation.bucket.objects[archive_id]
            if objects.gone == objects.count:
                waited.append(simulation.clock.at - due)
                del others[archive_id]
    assert simulation.bucket.left() == 0
    assert others == {}
    assert max(waited) <= 2 * INTERVAL * SECOND, "each was gone with the first run after its time"
    assert 100 < runs < 200, "runs of five minutes each: twelve hours or so"


@pytest.mark.parametrize("kept", [0, 25, 50_000 // SCALE])
def test_killed_run_is_followed_by_other_archives(monkeypatch, kept):
    """It runs out of memory, say, whenever it reads this archive."""
    simulation = CleanupSimulation()
    poison, other = (stored_archive(id=id_of("0", number)) for number in (0, 1))
    simulation.add(at(simulation, poison), ArchiveObjects(800_000 // SCALE, kept=kept))
    simulation.add(at(simulation, other), ArchiveObjects(5, kept=2))
    simulation.clock.at += 2 * HOUR
    listed = simulation.bucket.list

    def deadly(prefix, after=""):
        if poison.id in prefix:
            raise Crashed
        return listed(prefix, after)

    monkeypatch.setattr(simulation.bucket, "list", deadly)
    outcomes = [run_by_schedule(simulation, monkeypatch)[0] for _ in range(4)]
    assert outcomes.count(True) >= 2, "it is tried again, and again"
    assert simulation.bucket.objects[other.id].gone == 3


SMALL = {
    "a sweep": (
        lambda: stored_archive(id=id_of("0", 0), last_used_at=10**14),
        ArchiveObjects(47, kept=15),
        2 * HOUR,
        15,
    ),
    "an upload that is closed": (lambda: archive(id=id_of("0", 0)), ArchiveObjects(47, size=1), 300 * SECOND, 0),
    "a reservation that expired": (lambda: archive(id=id_of("0", 0)), ArchiveObjects(27), HOUR, 0),
}


@pytest.mark.parametrize("slice_of", [cleanup.SLICE, 0])
@pytest.mark.parametrize("takes_effect", [False, True])
@pytest.mark.parametrize("of", SMALL)
def test_crash_at_any_call_is_recovered(monkeypatch, of, takes_effect, slice_of):
    monkeypatch.setattr(cleanup, "SLICE", slice_of)
    calls = 1
    for crashes_at in range(1, 200):
        make, objects, due_in, left = SMALL[of]
        simulation = CleanupSimulation(open_upload_bytes=20)
        simulation.add(at(simulation, make()), replace(objects))
        simulation.clock.at += due_in
        simulation.calls.crashes_at, simulation.calls.takes_effect = crashes_at, takes_effect
        crashed, _ = run_by_schedule(simulation, monkeypatch)
        calls = simulation.calls.count
        simulation.calls.crashes_at = None
        for _ in range(3 * 12):
            assert not run_by_schedule(simulation, monkeypatch)[0]
        assert simulation.bucket.left() == 0
        assert simulation.bucket.objects[id_of("0", 0)].kept == left
        assert set(simulation.table.rows) == ({id_of("0", 0)} if left else set())
        assert simulation.table.reservations == set()
        if not crashed:
            break
    assert calls < crashes_at, "each call was the last one once"
    assert calls > 10


def test_oversized_upload_is_closed_and_reported(monkeypatch):
    simulation = CleanupSimulation(open_upload_bytes=100)
    simulation.add(at(simulation, archive(id=id_of("0", 0))), ArchiveObjects(100, size=1))
    simulation.add(at(simulation, archive(id=id_of("1", 0))), ArchiveObjects(101, size=1))
    simulation.clock.at += 300 * SECOND
    run_by_schedule(simulation, monkeypatch)
    assert simulation.bucket.left() == 100
    assert [row.state for row in simulation.table.rows.values()] == [ArchiveState.RESERVED, ArchiveState.DELETED]
    assert simulation.table.reservations == {id_of("0", 0)}, "the key is free again"
    [closed] = [it for it in simulation.telemetry.happenings if "closed" in it.name]
    assert closed.is_error
    assert closed.fields["repository"] == "42"
    assert (closed.fields["archive_id"], closed.fields["bytes"]) == (id_of("1", 0), 101)
    assert simulation.telemetry.counted(BYTES_DISCARDED) == [101]


def test_arrivals_at_closed_upload_are_swept(monkeypatch):
    simulation = CleanupSimulation(open_upload_bytes=100)
    simulation.add(at(simulation, archive(id=id_of("0", 0))), ArchiveObjects(101, size=1))
    for _ in range(2 * 12):
        objects = simulation.bucket.objects[id_of("0", 0)]
        run_by_schedule(simulation, monkeypatch)
        simulation.bucket.objects[id_of("0", 0)] = replace(objects, count=objects.count + 40)
    assert simulation.bucket.left() <= 80
    assert (
        sum(it.metrics[BYTES_DISCARDED] for it in simulation.telemetry.happenings if BYTES_DISCARDED in it.metrics)
        >= 101 + 20 * 40
    )


def test_too_many_objects_close_upload(monkeypatch):
    monkeypatch.setattr("actions_cache.domain.cleanup_schedule.MAX_ARRIVALS", MAX_ARRIVALS // SCALE)
    simulation = CleanupSimulation()
    simulation.add(at(simulation, archive(id=id_of("0", 0))), ArchiveObjects(MAX_ARRIVALS // SCALE + 1))
    simulation.add(at(simulation, archive(id=id_of("1", 0))), ArchiveObjects(MAX_ARRIVALS // SCALE))
    simulation.clock.at += 300 * SECOND
    run_by_schedule(simulation, monkeypatch)
    assert [row.state for row in simulation.table.rows.values()] == [ArchiveState.DELETED, ArchiveState.RESERVED]
