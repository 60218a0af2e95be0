"""Whoever dies, and wherever, the archive ends merged, the entry restores throughout, and no message is lost.

A sample of the most delicate points; tests/guarantees/slow/crashes strikes at every call.
"""

import pytest

from tests.guarantees.crashes.cleaning import TASKS, clean_up
from tests.guarantees.crashes.gate import Call, Fault, Point
from tests.guarantees.crashes.merging import merge
from tests.guarantees.crashes.poison import die_before_the_message_is_deleted, send_what_is_no_message
from tests.guarantees.crashes.saving import save
from tests.guarantees.crashes.world import World

pytest_plugins = ["tests.guarantees.crashes.fixtures"]


def test_a_claim_whose_server_died_before_its_message_was_sent_is_retaken(world: World):
    save(world, Point(Fault.DIES_BEFORE, Call("SendMessage", 1)))


def test_a_merge_whose_worker_died_between_the_complete_and_the_publication_is_done_again(world: World):
    merge(world, Point(Fault.DIES_AFTER, Call("CompleteMultipartUpload", 1)))


def test_a_publication_whose_worker_died_before_it_saw_the_answer_stands(world: World):
    merge(world, Point(Fault.DIES_AFTER, Call("PutItem", 2)))


@pytest.mark.parametrize("fault", [Fault.DIES_BEFORE, Fault.DIES_AFTER], ids=str)
def test_a_sweep_is_done_again_if_it(world: World, fault: Fault):
    """Until the table says so, it isn't done."""
    clean_up(world, TASKS["parts of a merged archive"], Point(fault, Call("DeleteObjects", 1)))


def test_a_message_that_is_none_becomes_a_dead_letter_and_keeps_no_other_waiting(world: World):
    send_what_is_no_message(world)


def test_a_worker_that_dies_after_the_letter_loses_no_message(world: World):
    die_before_the_message_is_deleted(world)
