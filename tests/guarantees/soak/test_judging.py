"""The rules by which a soak run finds violations, in cases that a good run doesn't have."""

from random import Random

import pytest

from tests.guarantees.soak.run import MIB, Memory
from tests.guarantees.soak.tally import Slot, Status, Tally, Violation, must_hit, must_miss

SECONDS = 900


def memory(mib_at) -> Memory:
    return Memory([(second, int(mib_at(second) * MIB)) for second in range(SECONDS)])


def test_memory_that_keeps_growing_is_a_violation():
    assert not memory(lambda second: 100 + second * 10 / 60).is_flat()


def test_memory_that_grows_at_first_is_flat():
    noise = Random(1)
    assert memory(lambda second: 100 + min(second, 200) + noise.uniform(-20, 20)).is_flat()


@pytest.mark.parametrize(
    ("now", "hit", "miss"),
    [(Status.PRESENT, True, False), (Status.ABSENT, False, True), (Status.CHANGING, False, False)],
)
def test_unchanged_entry_must_be_hit_or_missed(now: Status, hit: bool, miss: bool):
    slot = Slot("key")
    slot.saving([100])
    slot.became(now)
    view = slot.view
    assert (must_hit(view, view, 100), must_miss(view, view)) == (hit, miss)


def test_changed_or_idle_entry_may_be_missed():
    slot = Slot("key")
    slot.saving([100])
    slot.became(Status.PRESENT)
    before = slot.view
    assert not must_hit(before, before, unused_seconds=0)
    slot.saving([100])
    assert not must_hit(before, slot.view, 100)


def test_error_is_counted_and_suppressed():
    tally = Tally()
    with tally.operation("restore"):
        raise Violation("wrong bytes", "from 5 on")
    with tally.operation("restore"):
        raise ConnectionResetError
    assert dict(tally.violations) == {"wrong bytes": 1, "restore: ConnectionResetError": 1}
    assert tally.operations["restore"] == 2
