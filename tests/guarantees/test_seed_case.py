"""The guarantees in the case that this project came from; and that the test notices when they are broken."""

import pytest

from tests.guarantees.seed_case import FedByTheMerge, SeedCase, deletes_parts_inline


def test_eight_readers_of_an_unmerged_entry_get_every_byte_while_it_is_merged_once(on_engines):
    SeedCase(on_engines).run()


def test_of_the_test_a_merge_that_deletes_parts_inline_is_noticed(on_engines):
    with pytest.raises(AssertionError, match="13 parts were gone"):
        SeedCase(on_engines, break_merge=deletes_parts_inline).run()


def test_of_the_test_readers_fed_through_the_merge_are_noticed(on_engines):
    with pytest.raises(AssertionError, match="7 readers waited"):
        SeedCase(on_engines, break_reader=FedByTheMerge, patience_seconds=8).run()
