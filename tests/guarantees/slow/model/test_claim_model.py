"""The guarantees of a merge in every state of a larger world than tests/guarantees/model explores."""

import pytest

from tests.guarantees.model.claim_model import Bounds
from tests.guarantees.model.explore import explore

WORLDS = {
    "two workers, two attempts": Bounds(workers=2, removes=False),
    "two workers, two claimers": Bounds(workers=2, claimers=2),
    "three workers": Bounds(workers=3, removes=False, replays=False),
    "three attempts": Bounds(workers=2, max_attempts=3, replays=False),
    "two workers and their objects": Bounds(workers=2, max_attempts=1, sweeps=True, replays=False),
    "replays and objects": Bounds(workers=1, max_attempts=1, sweeps=True),
}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("bounds", WORLDS.values(), ids=WORLDS)
def test_no_rule_is_broken_in_any_state(bounds, record_property):
    found = explore(bounds)
    record_property("states", len(found.came_from))
    print(f"{len(found.came_from)} states, {found.steps} steps")  # noqa: T201 - the figure
