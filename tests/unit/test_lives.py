"""The lives of the classes follow from UNUSED_ENTRY_SECONDS unless they are set, and never contradict each other."""

import pytest
from pydantic import ValidationError

from actions_cache.domain.entry_class import EntryClass
from actions_cache.settings import Settings
from tests.unit.test_settings import REQUIRED

DAY = 24 * 3600
MAIN, BRANCH, TRANSIENT = EntryClass


@pytest.mark.parametrize(
    ("changes", "lives"),
    [
        ({}, (7 * DAY, 5 * DAY, 3 * DAY)),
        ({"unused_entry_seconds": 70 * DAY}, (70 * DAY, 50 * DAY, 30 * DAY)),
        ({"unused_entry_seconds": 1}, (1, 1, 1)),
        ({"unused_branch_entry_seconds": DAY}, (7 * DAY, DAY, DAY)),
        ({"unused_transient_entry_seconds": 60}, (7 * DAY, 5 * DAY, 60)),
        ({"unused_branch_entry_seconds": 7 * DAY, "unused_transient_entry_seconds": 7 * DAY}, (7 * DAY,) * 3),
    ],
    ids=str,
)
def test_unset_lives_are_shares_of_the_longest(changes, lives):
    found = Settings(**REQUIRED, **changes).unused_seconds
    assert (found[MAIN], found[BRANCH], found[TRANSIENT]) == lives


@pytest.mark.parametrize(
    "changes",
    [{"unused_branch_entry_seconds": 7 * DAY + 1}, {"unused_transient_entry_seconds": 5 * DAY + 1}],
    ids=str,
)
def test_longer_life_of_a_narrower_class_is_refused(changes):
    with pytest.raises(ValidationError, match=r"UNUSED_ENTRY_SECONDS is 604800, UNUSED_BRANCH.*Lower it, raise that"):
        Settings(**REQUIRED, **changes)
