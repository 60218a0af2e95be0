"""What a merge takes by itself, where the store takes nothing."""

from tests.support.fakes import merge_of_copies

MIB = 1024 * 1024
FEW, MANY = 1_000, 10_000


def test_merge_cost_grows_linearly():
    """Thrice that time is allowed, since this machine does other work too; by the square it would be a hundred."""
    seconds_for_few, memory_of_few = merge_of_copies(FEW, 5 * MIB)
    seconds_for_many, memory_of_many = merge_of_copies(MANY, 5 * MIB)
    assert seconds_for_many < 3 * MANY / FEW * seconds_for_few
    assert memory_of_many < 1.2 * MANY / FEW * memory_of_few
    assert memory_of_many < 100 * MIB
