"""Storage and writes for refused jobs are bounded."""

from collections import Counter

import pytest

from actions_cache.domain.refused_job import SLOTS, RefusedJob, may_write


def job(number: int, issuer: str = "https://a.example") -> RefusedJob:
    return RefusedJob(issuer, str(number), None, None, None, ())


def test_repositories_spread_over_slots():
    slots = Counter(job(number).slot for number in range(6400))
    assert set(slots) == set(range(SLOTS))
    assert max(slots.values()) < 200
    assert job(42).slot == job(42).slot
    assert len({job(42, f"https://{number}.example").slot for number in range(20)}) > 1


@pytest.mark.parametrize(
    ("slot_written_at", "written_at", "now", "may"),
    [
        (None, None, 0, True),
        (None, 0, 999, False),
        (None, 0, 1_000, True),
        (0, 0, 59_999, False),
        (0, 0, 60_000, True),
        (0, 59_001, 60_000, False),
        (0, 59_000, 60_000, True),
    ],
)
def test_slot_writes_are_rate_limited(slot_written_at, written_at, now, may):
    assert may_write(slot_written_at, written_at, now) is may
