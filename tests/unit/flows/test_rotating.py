"""The signing secret's rotation: no URL fails by it, whatever dies and whoever else runs."""

import logging

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import Phase as Stage
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from actions_cache.domain import signing
from actions_cache.domain.errors import TryAgain
from actions_cache.domain.signing import SETTLE, Keyring, Phase, RotationTimes, unknown_to_edge
from actions_cache.domain.timing import DAY, SECOND, Millis
from actions_cache.rotate import MAX_ROUNDS, RotateSecret
from tests.unit.flows.rotation_world import BELIEVED, RUN, SPREADS, TIMES, URL_LIFE, World

HOUR: Millis = 3600 * SECOND
BEGINS = st.sampled_from([RotateSecret.__call__, RotateSecret.tell_edge])


def due_in(phase: Phase) -> World:
    """A world that stands in this phase, and where its next step is due."""
    world = World()
    while True:
        world.wait(world.until_due())
        if world.ring.phase is phase:
            return world
        world.run()


def rotate(world: World) -> None:
    """Hour by hour, as the schedule does, until the rotation that is under way has ended."""
    for _ in range(6):
        world.wait(HOUR)
        world.run()
        world.check()
    assert world.ring.phase is Phase.SETTLED


# ------------------------------------------------------------------ one run at a time


def test_rotation_retires_old_secret():
    world = due_in(Phase.SETTLED)
    assert world.run() is Phase.INTRODUCED
    rotate(world)
    assert "first" not in world.ring.verifying
    assert world.told[-1][1] == world.ring.verifying
    world.wait(SPREADS + URL_LIFE + BELIEVED + 1)
    assert world.secrets_of_good_urls() == {world.ring.current}
    world.check()


def test_early_run_writes_nothing():
    world = World()
    world.wait(TIMES.interval - DAY - 1)
    assert world.run() is Phase.SETTLED
    assert (len(world.rings), len(world.told)) == (1, 1)


def test_deploy_updates_edge_and_starts_phase():
    world = World(rings=[(0, Keyring(current="first"))], told=[(0, ())])
    world.run(RotateSecret.tell_edge)
    assert world.told[-1][1] == ("first",)
    assert world.ring == Keyring(current="first", changed_at=world.now)
    world.wait(TIMES.interval - 1)
    assert world.run() is Phase.SETTLED
    world.wait(1)
    assert world.run() is Phase.INTRODUCED


def test_deploy_takes_no_due_step():
    world = due_in(Phase.INTRODUCED)
    world.run(RotateSecret.tell_edge)
    assert world.ring.phase is Phase.INTRODUCED


@pytest.mark.parametrize("phase", Phase)
def test_outdated_edge_is_updated_and_phase_restarts(phase):
    world = due_in(phase)
    world.told.append((world.now, ("another",)))
    assert world.run() is phase
    assert world.told[-1][1] == world.ring.verifying
    assert world.ring.changed_at == world.now


def test_reset_edge_gets_full_wait_after_crash():
    world = due_in(Phase.INTRODUCED)
    world.told.append((world.now, ("first",)))
    run = world.start()
    while len(world.told) < 4:
        run.step()
    world.runs.clear()
    assert world.run() is Phase.INTRODUCED
    world.check()
    world.wait(SETTLE - 1)
    assert world.run() is Phase.INTRODUCED


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("steps", range(8))
def test_crashed_run_is_continued_by_next(phase, steps):
    world = due_in(phase)
    run = world.start()
    for _ in range(steps):
        if run in world.runs:
            run.step()
            world.check()
    rotate_on = world.ring.phase
    world.wait(RUN + 1)
    assert world.runs == []
    world.run()
    world.check()
    assert world.told[-1][1] == world.ring.verifying
    if rotate_on is not Phase.SETTLED:
        rotate(world)


def test_foreign_edge_write_is_overwritten():
    world = World(rings=[(0, Keyring(current="first"))], told=[(0, ())])
    run = world.start(RotateSecret.tell_edge)
    run.step()
    world.told.append((world.now, ("another",)))
    while run in world.runs:
        run.step()
    assert run.outcome == world.ring
    assert world.told[-1][1] == ("first",)


def test_write_with_lost_response_counts():
    world = World(rings=[(0, Keyring(current="first"))], told=[(0, ())], answers_get_lost=True)
    assert world.run(RotateSecret.tell_edge) == world.ring
    assert [secrets for _, secrets in world.told] == [(), ("first",)]
    assert world.ring.changed_at == world.now


def test_repeated_conflicts_end_in_retryable_error():
    world = World(rings=[(0, Keyring(current="first"))], told=[(0, ())])
    run = world.start(RotateSecret.tell_edge)
    for number in range(MAX_ROUNDS):
        assert run in world.runs
        run.step()
        world.told.append((world.now, (f"another {number}",)))
        run.step()
        run.step()
    assert isinstance(run.outcome, TryAgain)
    assert world.ring == Keyring(current="first")


def test_secrets_are_never_logged(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    world = due_in(Phase.SETTLED)
    world.run()
    rotate(world)
    # Each step of a run plays what came before it again.
    phases = dict.fromkeys(record.__dict__["phase"] for record in caplog.records)
    assert list(phases) == ["introduced", "promoted", "settled"]
    logged = "".join(str(vars(record)) for record in caplog.records)
    assert not any(secret in logged for _, ring in world.rings for secret in ring.verifying)


# ------------------------------------------------------------------ several at once


def interleavings(world: World) -> list[World]:
    """Every world in which the runs of this one may end, its promise checked after each of their steps."""
    ended, waiting, seen = [], [world], set()
    while waiting:
        here = waiting.pop()
        if not here.runs:
            ended.append(here)
        for number in range(len(here.runs)):
            there = here.fork()
            there.runs[number].step()
            there.check()
            state = (
                tuple(ring for _, ring in there.rings),
                tuple(there.told),
                *(repr(run.tape) + repr(run.begin) for run in there.runs),
            )
            if state not in seen:
                seen.add(state)
                waiting.append(there)
    return ended


@pytest.mark.parametrize(
    "other", [RotateSecret.__call__, RotateSecret.tell_edge], ids=["two steps", "a step, a deploy"]
)
@pytest.mark.parametrize("phase", Phase)
def test_concurrent_runs_keep_urls_valid(phase, other):
    world = due_in(phase)
    world.start()
    world.start(other)
    ends = interleavings(world)
    assert len(ends) > 1
    for end in ends:
        end.wait(RUN)
        end.run()
        end.check()
        assert end.told[-1][1] == end.ring.verifying
        if phase is not Phase.SETTLED or end.ring.phase is not Phase.SETTLED:
            rotate(end)


def test_resumed_frozen_run_would_break_urls():
    """functions/rotate/cloudformation.py leaves nothing behind."""
    world = due_in(Phase.SETTLED)
    world.a_run_ends_after = DAY
    world.run()
    world.rings.append((world.now, unknown_to_edge(world.ring)))
    frozen = world.start(RotateSecret.tell_edge)
    frozen.step()
    frozen.step()
    rotate(world)
    frozen.step()
    with pytest.raises(AssertionError, match="a URL signed with"):
        world.check()


# ------------------------------------------------------------------ anything at any time


class Rotation(RuleBasedStateMachine):
    """Up to three runs that interleave and die, at any time; the schedule may be late, or early."""

    times = TIMES

    def __init__(self) -> None:
        super().__init__()
        self.world = World(times=self.times)

    @rule(passed=st.sampled_from([1, SECOND, 20 * SECOND, RUN, BELIEVED, SPREADS, SETTLE, HOUR, DAY]))
    def time_passes(self, passed: Millis) -> None:
        self.world.wait(passed)

    @rule(early=st.sampled_from([0, 1, SECOND, RUN]))
    def a_step_is_about_due(self, early: Millis) -> None:
        self.world.wait(max(0, self.world.until_due() - early))

    @rule(begin=BEGINS)
    def a_run_begins_and_ends(self, begin) -> None:
        self.world.answers_get_lost = False
        self.world.run(begin)

    @precondition(lambda self: len(self.world.runs) < 3)
    @rule(begin=BEGINS)
    def a_run_begins(self, begin) -> None:
        self.world.start(begin)

    @precondition(lambda self: self.world.runs)
    @rule(which=st.integers(0, 2), steps=st.integers(1, 4), lost=st.booleans())
    def a_run_goes_on(self, which: int, steps: int, lost: bool) -> None:
        run = self.world.runs[which % len(self.world.runs)]
        self.world.answers_get_lost = lost
        for _ in range(steps):
            if run in self.world.runs:
                run.step()
                self.world.check()

    @precondition(lambda self: self.world.runs)
    @rule(which=st.integers(0, 2))
    def a_run_dies(self, which: int) -> None:
        self.world.runs.pop(which % len(self.world.runs))

    @precondition(lambda self: not self.world.runs and self.world.secrets_of_good_urls() == {self.world.ring.current})
    @rule()
    def the_edge_is_set_back(self) -> None:
        """To no more than it needs as yet: a store restored by hand, say."""
        self.world.told.append((self.world.now, (self.world.ring.current,)))

    @invariant()
    def every_good_url_verifies_everywhere(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        """The dust settles, a rotation more, and one secret is left."""
        self.world.answers_get_lost = False
        self.world.wait(RUN + 1)
        self.world.run()
        old = self.world.ring.current
        for _ in range(2):
            self.world.wait(self.world.until_due())
            self.world.run()
            rotate(self.world)
        self.world.wait(SPREADS + URL_LIFE + BELIEVED + 1)
        assert old not in self.world.ring.verifying
        assert self.world.secrets_of_good_urls() == {self.world.ring.current}


TestRotation = Rotation.TestCase
TestRotation.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)


def _breaks(machine: type[Rotation]) -> None:
    with pytest.raises(AssertionError, match=r"a URL signed with .* is good, and the (edge|function) knows"):
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=500,
                stateful_step_count=40,
                deadline=None,
                derandomize=True,
                database=None,
                report_multiple_bugs=False,
                phases=[Stage.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )


@pytest.mark.parametrize("settles", [BELIEVED - SECOND, SPREADS - SECOND], ids=["below a cache's", "below the edge's"])
def test_short_settling_time_breaks_urls(monkeypatch: pytest.MonkeyPatch, settles: Millis):
    monkeypatch.setattr(signing, "SETTLE", settles)
    _breaks(Rotation)


def test_short_overlap_breaks_urls():
    class Hasty(Rotation):
        times = RotationTimes(interval=TIMES.interval, url_life=URL_LIFE - SETTLE)

    _breaks(Hasty)
