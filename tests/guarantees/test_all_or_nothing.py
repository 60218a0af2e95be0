"""A server killed at a write of a save leaves its entry whole or not at all, and asking again succeeds.

A sample; tests/guarantees/slow/crashes strikes at every call.
"""

from tests.guarantees.crashes.gate import Call, Fault, Point
from tests.guarantees.crashes.saving import save
from tests.guarantees.crashes.world import World

pytest_plugins = ["tests.guarantees.crashes.fixtures"]

RESERVE = Call("TransactWriteItems", 1)
MANIFEST = Call("PutObject", 4)
"""After the three parts."""
FINALIZE = Call("TransactWriteItems", 2)


def test_a_finalize_killed_before_its_transaction_saved_nothing_and_succeeds_when_asked_again(world: World):
    assert save(world, Point(Fault.DIES_BEFORE, FINALIZE)).was_visible is False


def test_a_finalize_killed_after_its_transaction_saved_all_and_succeeds_when_asked_again(world: World):
    assert save(world, Point(Fault.DIES_AFTER, FINALIZE)).was_visible is True


def test_a_reservation_whose_answer_nobody_saw_holds_its_key_until_it_expires_and_no_longer(world: World):
    assert save(world, Point(Fault.DIES_AFTER, RESERVE)).was_visible is False


def test_a_block_list_succeeds_though_the_answer_to_its_manifest_was_lost(world: World):
    save(world, Point(Fault.ANSWER_LOST, MANIFEST))
