"""Each step of the signing secret's rotation, taken by the schedule's process (nothing gets stuck, isolation)."""

from actions_cache.domain.signing import Keyring, Phase
from actions_cache.domain.timing import SECOND
from actions_cache.rotate import RotateSecret
from tests.guarantees.crashes.gate import Call, Fault, Gate, Point
from tests.guarantees.crashes.world import World, wait_until

ROTATION = "rotate schedule"
LAST = Call("PutSecretValue", 2)
"""The ring of the step, and that the edge knows it."""


def rotate(world: World, phase: Phase, point: Point | None) -> list[Call]:
    """The calls of the run that leaves this phase. What must hold is checked."""
    rotation = world.secrets.rotate_secret
    before = _until_due(world, rotation, phase)
    gate = Gate(point=point)
    with world.stage.schedule(ROTATION, gate) as schedule:
        if point is None:
            wait_until(lambda: LAST in gate.calls)
        elif point.fault is Fault.ANSWER_LOST:
            wait_until(lambda: LAST in gate.calls and gate.struck.is_set())
        else:
            wait_until(lambda: schedule.poll() is not None)
            assert gate.struck.is_set()
        _check_that_urls_verify(rotation, before)
    rotation()
    _check_that_urls_verify(rotation, before)
    after = rotation.keyrings.read()
    assert rotation.edge.read().secrets == after.verifying
    assert after.changed_at is not None
    assert after.phase is not phase
    return gate.calls[: gate.calls.index(LAST) + 1] if LAST in gate.calls else gate.calls


def _until_due(world: World, rotation: RotateSecret, phase: Phase) -> Keyring:
    """The ring of this phase, whose next step is due."""
    while True:
        ring = rotation.keyrings.read()
        lasts = rotation.times.of(ring.phase)
        world.advance(lasts / SECOND + 1)
        if ring.phase is phase:
            return ring
        rotation()


def _check_that_urls_verify(rotation: RotateSecret, before: Keyring) -> None:
    """What signed before the step, or signs now, verifies at the edge and at the functions that read the ring anew.

    All other secrets may go: URLs that they signed are over.
    """
    edge, ring = rotation.edge.read().secrets, rotation.keyrings.read()
    assert {before.current, ring.current} <= set(edge) & set(ring.verifying)
