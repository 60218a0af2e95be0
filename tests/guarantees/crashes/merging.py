"""A merge by a worker's process, from the poll to the message's deletion, while the witness restores."""

from actions_cache.domain.archive import MergeState
from actions_cache.domain.merge_plan import MIB
from tests.guarantees.crashes.environment import World, entry_name, wait_until
from tests.guarantees.crashes.gate import Call, Fault, Gate, Point

KEY = "npm-1"
PARTS = (b"a" * 5 * MIB, b"b" * 1000, b"c" * 1000)
"""One is copied, two are read and uploaded together."""
CONTENT = b"".join(PARTS)

LAST = Call("DeleteMessage", 1)


def merge(world: World, point: Point | None) -> list[Call]:
    """The worker's calls, up to its last for this message. What must hold is checked."""
    world.journey.save(entry_name(KEY), *PARTS)
    gate = Gate(point=point)
    with world.watched(KEY, CONTENT) as watch:
        watch.must_be_there = True
        watch.start()
        with world.stage.worker(gate) as worker:
            dies = point is not None and point.fault is not Fault.ANSWER_LOST
            wait_until(lambda: worker.poll() is not None if dies else _is_done(world, gate))
            assert gate.struck.is_set() == (point is not None)
        world.merge_in_the_end(by_schedule=point is None or point.fault is Fault.DIES_BEFORE)
    world.check_no_orphan_is_left(KEY, CONTENT)
    return gate.calls[: gate.calls.index(LAST) + 1] if LAST in gate.calls else gate.calls


def _is_done(world: World, gate: Gate) -> bool:
    return LAST in gate.calls and world.the_archive().merge.state is MergeState.MERGED
