"""What an entry brings from another server counts as far as it can be true here."""

import pytest

from actions_cache.domain.archive import Commit, Past, committed, stored
from tests.unit.domain.build import NOW, archive


@pytest.mark.parametrize(
    ("past", "stored_at", "last_used_at"),
    [
        (None, NOW, NOW),
        (Past(NOW - 5, NOW - 2), NOW - 5, NOW - 2),
        (Past(NOW + 5, NOW + 9), NOW, NOW),
        (Past(NOW, NOW), NOW, NOW),
        (Past(0, 0), 1, 0),
    ],
)
def test_neither_moment_lies_ahead_and_who_was_saved_was_visible(past, stored_at, last_used_at):
    whole = committed(archive(), Commit("digest", 3, 1, None), None)
    assert whole is not None
    by = stored(whole, NOW, past)
    assert by is not None
    assert (by.stored_at, by.last_used_at) == (stored_at, last_used_at)
    assert by.was_visible, "else its readers would have no grace"
