"""Time and memory that a merge needs itself, with a store that needs none."""

import pytest

from tests.support.fakes import merge_of_copies

MIB = 1024 * 1024
FEW, MANY = 1_000, 10_000


@pytest.mark.slow
def test_merge_cost_grows_linearly():
    """Three times the linear time is allowed, since the machine is busy; quadratic growth would be ten times."""
    seconds_for_few, memory_of_few = merge_of_copies(FEW, 5 * MIB)
    seconds_for_many, memory_of_many = merge_of_copies(MANY, 5 * MIB)
    assert seconds_for_many < 3 * MANY / FEW * seconds_for_few
    assert memory_of_many < 1.2 * MANY / FEW * memory_of_few
    assert memory_of_many < 100 * MIB
