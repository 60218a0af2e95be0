"""Single merge, no reader cut off and nothing stuck, in every state that the claim can get into.

claim_model.py is the protocol, explore.py has the rules. With `--long`, larger models are explored too.
"""

from dataclasses import replace

import pytest

from actions_cache.domain import claim
from actions_cache.domain.archive import ArchiveState, MergeState
from actions_cache.domain.cleanup_schedule import CleanupTask
from tests.guarantees.model import claim_model
from tests.guarantees.model.claim_model import Bounds
from tests.guarantees.model.explore import RuleBroken, explore

SMALL = Bounds(workers=1)
TWO_WORKERS = Bounds(workers=2, removes=False, max_attempts=1)
TWO_ATTEMPTS = Bounds(workers=2, removes=False, replays=False)
WITH_OBJECTS = Bounds(workers=1, max_attempts=1, sweeps=True, replays=False)


SLOW_MODELS = {"two workers": TWO_WORKERS, "two attempts": TWO_ATTEMPTS, "objects": WITH_OBJECTS}
LARGE_MODELS = {
    "two workers, two attempts": Bounds(workers=2, removes=False),
    "two workers, two claimers": Bounds(workers=2, claimers=2),
    "three workers": Bounds(workers=3, removes=False, replays=False),
    "three attempts": Bounds(workers=2, max_attempts=3, replays=False),
    "two workers and their objects": Bounds(workers=2, max_attempts=1, sweeps=True, replays=False),
    "replays and objects": Bounds(workers=1, max_attempts=1, sweeps=True),
}


@pytest.mark.parametrize(
    "bounds",
    [
        pytest.param(SMALL, id="removals"),
        *(pytest.param(bounds, id=which, marks=pytest.mark.slow) for which, bounds in SLOW_MODELS.items()),
        *(pytest.param(bounds, id=which, marks=pytest.mark.long) for which, bounds in LARGE_MODELS.items()),
    ],
)
def test_no_rule_is_broken_in_any_state(bounds: Bounds):
    found = explore(bounds)
    print(f"{len(found.states)} states, {found.steps} steps")  # noqa: T201 - the figure
    assert len(found.states) > 1_000


def started_though_a_run_lives(archive, token, run, now, lifetimes, max_attempts):
    expired = replace(archive, merge=replace(archive.merge, lease_until=0))
    return claim.started(expired, token, run, now, lifetimes, max_attempts)


def started_though_all_attempts_were_made(archive, token, run, now, lifetimes, max_attempts):
    return claim.started(archive, token, run, now, lifetimes, max_attempts + 1)


def published_by_any_run(archive, run, merged, now):
    if archive.merge.state is not MergeState.RUNNING:
        return None
    return claim.published(archive, archive.merge.run_token or run, merged, now)


def published_twice(archive, run, merged, now):
    if archive.object is None:
        return claim.published(archive, run, merged, now)
    return replace(archive, object=merged)


def published_though_removed(archive, run, merged, now):
    return claim.published(replace(archive, state=ArchiveState.STORED), run, merged, now)


def claimed_though_a_run_lives(archive, token, now, lifetimes, max_attempts):
    expired = replace(archive, merge=replace(archive.merge, lease_until=0))
    return claim.claimed(expired, token, now, lifetimes, max_attempts)


def replayed_though_a_run_lives(archive, letter_token, token, now):
    expired = replace(archive, merge=replace(archive.merge, lease_until=0))
    return claim.redriven(expired, letter_token, token, now)


def replayed_though_merged(archive, letter_token, token, now):
    return claim.redriven(replace(archive, object=None), letter_token, token, now)


def never(*_):
    return None


BREAKS = {
    "a run starts beside a live one": ("started", started_though_a_run_lives, "two runs live"),
    "a claim is retaken from a live run": ("claimed", claimed_though_a_run_lives, "two runs live"),
    "a dead letter is redriven beside a live run": ("redriven", replayed_though_a_run_lives, "two runs live"),
    "a merged archive is redriven": ("redriven", replayed_though_merged, "merged no longer, or otherwise"),
    "runs go on after the last attempt": ("started", started_though_all_attempts_were_made, "attempt 3 was made"),
    "any run publishes": ("published", published_by_any_run, "was published, but the current run was"),
    "a run publishes a merged archive": ("published", published_twice, "merged no longer, or otherwise"),
    "a removed archive is published": ("published", published_though_removed, "a removed archive came back"),
    "nothing is given up": ("given_up", never, "nothing leads on"),
    "nothing is claimed": ("claimed", never, "nothing leads on"),
}

OF_ONE_WORKER = ("nothing leads on", "attempt 3 was made", "a removed archive came back")
"""Rules that are broken in a model of one worker too, where that is found sooner."""


@pytest.mark.slow
@pytest.mark.parametrize(("function", "broken", "rule"), BREAKS.values(), ids=BREAKS)
def test_removed_guard_breaks_a_rule(monkeypatch, function, broken, rule):
    """The model asks the product's own functions, so it sees their defects."""
    monkeypatch.setattr(claim_model, "claim", Broken(function, broken))
    with pytest.raises(RuleBroken, match=rule):
        explore(SMALL if rule in OF_ONE_WORKER else Bounds())


def test_unconditional_writes_break_a_rule():
    with pytest.raises(RuleBroken):
        explore(Bounds(compares=False))


class Broken:
    """Stands for the domain's claim, but for one function."""

    def __init__(self, name, function):
        setattr(self, name, function)

    def __getattr__(self, name):
        return getattr(claim, name)


def test_removed_grace_breaks_a_rule(monkeypatch):
    """Two guards are removed: a sweep isn't due before, and leaves the parts alone if it comes all the same."""
    monkeypatch.setattr(claim_model, "_due_task", lambda _: CleanupTask.SWEEP)
    monkeypatch.setattr(claim_model, "needs_parts", lambda *_: False)
    with pytest.raises(RuleBroken, match="a reader may still need"):
        explore(WITH_OBJECTS)
