"""What a merge takes by itself, where the store takes nothing."""

from tests.simulated import merge_of_copies

MIB = 1024 * 1024
FEW, MANY = 1_000, 10_000


def test_fifty_gigabytes_in_ten_thousand_parts_take_ten_times_what_a_tenth_does():
    """Twice that is allowed, since this machine does other work too; growth by the square would be a hundred times."""
    _, memory_of_few = merge_of_copies(FEW, 5 * MIB)
    _, memory_of_many = merge_of_copies(MANY, 5 * MIB)
    assert memory_of_many < 1.2 * MANY / FEW * memory_of_few
    assert memory_of_many < 100 * MIB
