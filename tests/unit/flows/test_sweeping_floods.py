"""An archive with very many objects takes no other archive's turn, and is cleaned up in the end."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from actions_cache import cleanup
from actions_cache.cleanup import RunCleanup
from actions_cache.domain.archive import ArchiveState
from actions_cache.domain.timing import SECOND
from actions_cache.domain.uploads import MAX_ARRIVALS
from actions_cache.events import BYTES_DISCARDED
from tests.support.cleanup_simulation import ArchiveObjects, CleanupSimulation, Crashed, due_at
from tests.unit.domain.build import LIFETIMES, archive, stored_archive

SCALE = 100
"""Number of objects that each simulated one stands for: a page of ten takes as long as a real one of a thousand."""

TIMEOUT, INTERVAL = 110, 300
"""The function's timeout and the interval of its runs, in seconds."""

HOUR = 3600 * SECOND
SHARDS = "0123456789abcdef"


@pytest.fixture(autouse=True)
def small_pages(monkeypatch):
    monkeypatch.setattr("actions_cache.archives.PAGE", 1000 // SCALE)


def id_of(shard, number):
    return shard + f"{number:031x}"


def at(simulation, made, **changes):
    """Return the archive with the times of one that is reserved now."""
    now = simulation.clock.at
    return replace(
        made,
        reserved_at=now,
        reservation_expires_at=now + LIFETIMES.reservation,
        upload_closes_at=now + LIFETIMES.upload_url,
        **changes,
    )


def run_by_schedule(simulation):
    """Run the cleanup once within the function's timeout.

    Returns:
        Whether the run crashed, and how often eviction and migration had time left.
    """
    began = simulation.clock.at
    turns: Counter[str] = Counter()
    simulation.calls.timeout_at = began + TIMEOUT * SECOND

    def evict(is_time_left: Callable[[], bool], _begin: float) -> int:
        turns["evict"] += is_time_left()
        return 0

    def migrate(remaining: Callable[[], int]) -> Counter[str]:
        turns["migrate"] += remaining() > 10 * SECOND
        return Counter()

    crashed = False
    try:
        RunCleanup(simulation.clean_up, evict, lambda _: 0, migrate)(simulation.remaining_of(TIMEOUT))
    except Crashed:
        crashed = True
    simulation.calls.timeout_at = None
    simulation.clock.at = began + INTERVAL * SECOND
    return crashed, turns


@pytest.mark.slow
def test_floods_delay_no_other_archive():
    """Each shard of the cleanup schedule has a flood of 800,000 objects; half of the floods keep 50,000 parts."""
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
        crashed, turns = run_by_schedule(simulation)
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
    assert 60 < runs < 120, "runs of five minutes each: eight hours or so"


def test_floods_share_each_run():
    simulation = CleanupSimulation()
    now = simulation.clock.at
    deleted = partial(stored_archive, state=ArchiveState.DELETED, upload_closes_at=now - 2 * HOUR, swept_at=now)
    floods = [deleted(id=id_of(shard, 0), deleted_at=now + HOUR) for shard in SHARDS[:2]]
    for flood in floods:
        simulation.add(flood, ArchiveObjects(800_000 // SCALE))
    simulation.clock.at += 2 * HOUR
    run_by_schedule(simulation)
    first, second = sorted(simulation.bucket.objects[flood.id].gone for flood in floods)
    assert 0 < 0.9 * second < first


@pytest.mark.parametrize("kept", [0, 25, 50_000 // SCALE])
def test_killed_run_is_followed_by_other_archives(monkeypatch, kept):
    """Reading this archive kills the run each time, say because it runs out of memory."""
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
    outcomes = [run_by_schedule(simulation)[0] for _ in range(4)]
    assert outcomes.count(True) >= 2, "it is tried again, and again"
    assert simulation.bucket.objects[other.id].gone == 3


SMALL_FLOODS = {
    "a sweep": (
        lambda: stored_archive(id=id_of("0", 0), last_used_at=10**14),
        ArchiveObjects(47, kept=15),
        2 * HOUR,
        15,
    ),
    "an upload that is closed": (lambda: archive(id=id_of("0", 0)), ArchiveObjects(47, size=1), 300 * SECOND, 0),
    "a reservation that expired": (lambda: archive(id=id_of("0", 0)), ArchiveObjects(27), HOUR, 0),
}


@pytest.mark.parametrize("time_slice", [cleanup.TASK_SLICE, 0])
@pytest.mark.parametrize("takes_effect", [False, True])
@pytest.mark.parametrize("kind", SMALL_FLOODS)
def test_crash_at_any_call_is_recovered(monkeypatch, kind, takes_effect, time_slice):
    monkeypatch.setattr(cleanup, "TASK_SLICE", time_slice)
    calls = 1
    for crashes_at in range(1, 200):
        make, objects, due_in, left = SMALL_FLOODS[kind]
        simulation = CleanupSimulation(open_upload_bytes=20)
        simulation.add(at(simulation, make()), replace(objects))
        simulation.clock.at += due_in
        simulation.calls.crashes_at, simulation.calls.takes_effect = crashes_at, takes_effect
        crashed, _ = run_by_schedule(simulation)
        calls = simulation.calls.count
        simulation.calls.crashes_at = None
        for _ in range(3 * 12):
            assert not run_by_schedule(simulation)[0]
        assert simulation.bucket.left() == 0
        assert simulation.bucket.objects[id_of("0", 0)].kept == left
        assert set(simulation.table.rows) == ({id_of("0", 0)} if left else set())
        assert simulation.table.reservations == set()
        if not crashed:
            break
    assert calls < crashes_at, "the run died at each of its calls"
    assert calls > 10


def test_oversized_upload_is_closed_and_reported():
    simulation = CleanupSimulation(open_upload_bytes=100)
    simulation.add(at(simulation, archive(id=id_of("0", 0))), ArchiveObjects(100, size=1))
    simulation.add(at(simulation, archive(id=id_of("1", 0))), ArchiveObjects(101, size=1))
    simulation.clock.at += 300 * SECOND
    run_by_schedule(simulation)
    assert simulation.bucket.left() == 100
    assert [row.state for row in simulation.table.rows.values()] == [ArchiveState.RESERVED, ArchiveState.DELETED]
    assert simulation.table.reservations == {id_of("0", 0)}, "the key is free again"
    [closed] = [event for event in simulation.telemetry.events if "closed" in event.name]
    assert closed.is_error
    assert closed.fields["repository"] == "42"
    assert (closed.fields["archive_id"], closed.fields["bytes"]) == (id_of("1", 0), 101)
    assert simulation.telemetry.counted(BYTES_DISCARDED) == [101]


def test_arrivals_at_closed_upload_are_swept():
    simulation = CleanupSimulation(open_upload_bytes=100)
    simulation.add(at(simulation, archive(id=id_of("0", 0))), ArchiveObjects(101, size=1))
    for _ in range(2 * 12):
        objects = simulation.bucket.objects[id_of("0", 0)]
        run_by_schedule(simulation)
        simulation.bucket.objects[id_of("0", 0)] = replace(objects, count=objects.count + 40)
    assert simulation.bucket.left() <= 80
    discarded = sum(event.metrics.get(BYTES_DISCARDED, 0) for event in simulation.telemetry.events)
    assert discarded >= 101 + 20 * 40


def test_too_many_objects_close_upload(monkeypatch):
    monkeypatch.setattr("actions_cache.domain.cleanup_schedule.MAX_ARRIVALS", MAX_ARRIVALS // SCALE)
    simulation = CleanupSimulation()
    simulation.add(at(simulation, archive(id=id_of("0", 0))), ArchiveObjects(MAX_ARRIVALS // SCALE + 1))
    simulation.add(at(simulation, archive(id=id_of("1", 0))), ArchiveObjects(MAX_ARRIVALS // SCALE))
    simulation.clock.at += 300 * SECOND
    run_by_schedule(simulation)
    assert [row.state for row in simulation.table.rows.values()] == [ArchiveState.DELETED, ArchiveState.RESERVED]
