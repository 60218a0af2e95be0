"""All or nothing: a server that crashes in a save leaves its entry whole or not at all, and asking again succeeds.

With `--long` it crashes at every call.
"""

import pytest

from tests.guarantees.crashes.environment import CrashEnvironment
from tests.guarantees.crashes.gate import Call, Fault, Point, points
from tests.guarantees.crashes.scenarios import save

RESERVE = Call("TransactWriteItems", 1)
MANIFEST = Call("PutObject", 4)
"""Comes after the three parts."""
FINALIZE = Call("TransactWriteItems", 2)

WAS_VISIBLE = {
    Point(Fault.CRASH_AFTER, RESERVE): False,
    Point(Fault.CRASH_BEFORE, FINALIZE): False,
    Point(Fault.CRASH_AFTER, FINALIZE): True,
}
"""True if the entry is visible after the crash, before anybody asks again."""

SAMPLE = [*WAS_VISIBLE, Point(Fault.ANSWER_LOST, MANIFEST)]


@pytest.mark.slow
def test_crashed_save_is_whole_or_absent(environment: CrashEnvironment, subtests: pytest.Subtests, is_long: bool):
    for point in points(save(environment, None).calls) if is_long else SAMPLE:
        environment.empty()
        with subtests.test(str(point)):
            saved = save(environment, point)
            assert saved.was_visible is WAS_VISIBLE.get(point, saved.was_visible)
