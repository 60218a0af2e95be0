"""The signing secret's rotation breaks no URL, whichever run dies and whichever others run at the same time."""

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
from tests.unit.flows.rotation_simulation import CACHED_FOR, RUN, SPREADS_WITHIN, TIMES, URL_LIFE, Simulation

HOUR: Millis = 3600 * SECOND
BEGINS = st.sampled_from([RotateSecret.__call__, RotateSecret.tell_edge])


def due_in(phase: Phase) -> Simulation:
    """Return a simulation in this phase, whose next step is due."""
    simulation = Simulation()
    while True:
        simulation.wait(simulation.until_due())
        if simulation.ring.phase is phase:
            return simulation
        simulation.run()


def rotate(simulation: Simulation) -> None:
    """Run hour by hour, as the schedule does, until the current rotation has ended."""
    for _ in range(6):
        simulation.wait(HOUR)
        simulation.run()
        simulation.check()
    assert simulation.ring.phase is Phase.SETTLED


# ------------------------------------------------------------------ one run at a time


def test_rotation_retires_old_secret():
    simulation = due_in(Phase.SETTLED)
    assert simulation.run() is Phase.INTRODUCED
    rotate(simulation)
    assert "first" not in simulation.ring.verifying
    assert simulation.edges[-1][1] == simulation.ring.verifying
    simulation.wait(SPREADS_WITHIN + URL_LIFE + CACHED_FOR + 1)
    assert simulation.secrets_of_good_urls() == {simulation.ring.current}
    simulation.check()


def test_deploy_updates_edge_and_starts_phase():
    simulation = Simulation(rings=[(0, Keyring(current="first"))], edges=[(0, ())])
    simulation.run(RotateSecret.tell_edge)
    assert simulation.edges[-1][1] == ("first",)
    assert simulation.ring == Keyring(current="first", changed_at=simulation.now)
    written = len(simulation.rings), len(simulation.edges)
    simulation.wait(TIMES.interval - 1)
    assert simulation.run() is Phase.SETTLED
    simulation.wait(1)
    simulation.run(RotateSecret.tell_edge)
    assert simulation.ring.phase is Phase.SETTLED, "a deploy takes no step that is due"
    assert (len(simulation.rings), len(simulation.edges)) == written
    assert simulation.run() is Phase.INTRODUCED


@pytest.mark.parametrize("phase", Phase)
def test_outdated_edge_is_updated_and_phase_restarts(phase):
    simulation = due_in(phase)
    simulation.edges.append((simulation.now, ("another",)))
    assert simulation.run() is phase
    assert simulation.edges[-1][1] == simulation.ring.verifying
    assert simulation.ring.changed_at == simulation.now


def test_reset_edge_gets_full_wait_after_crash():
    simulation = due_in(Phase.INTRODUCED)
    simulation.edges.append((simulation.now, ("first",)))
    run = simulation.start()
    while len(simulation.edges) < 4:
        run.step()
    simulation.runs.clear()
    assert simulation.run() is Phase.INTRODUCED
    simulation.check()
    simulation.wait(SETTLE - 1)
    assert simulation.run() is Phase.INTRODUCED


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("steps", range(8))
def test_crashed_run_is_continued_by_next(phase, steps):
    simulation = due_in(phase)
    run = simulation.start()
    for _ in range(steps):
        if run in simulation.runs:
            run.step()
            simulation.check()
    rotate_on = simulation.ring.phase
    simulation.wait(RUN + 1)
    assert simulation.runs == []
    simulation.run()
    simulation.check()
    assert simulation.edges[-1][1] == simulation.ring.verifying
    if rotate_on is not Phase.SETTLED:
        rotate(simulation)


def test_foreign_edge_write_is_overwritten():
    simulation = Simulation(rings=[(0, Keyring(current="first"))], edges=[(0, ())])
    run = simulation.start(RotateSecret.tell_edge)
    run.step()
    simulation.edges.append((simulation.now, ("another",)))
    while run in simulation.runs:
        run.step()
    assert run.outcome == simulation.ring
    assert simulation.edges[-1][1] == ("first",)


def test_write_with_lost_response_counts():
    simulation = Simulation(rings=[(0, Keyring(current="first"))], edges=[(0, ())], responses_get_lost=True)
    assert simulation.run(RotateSecret.tell_edge) == simulation.ring
    assert [secrets for _, secrets in simulation.edges] == [(), ("first",)]
    assert simulation.ring.changed_at == simulation.now


def test_repeated_conflicts_end_in_retryable_error():
    simulation = Simulation(rings=[(0, Keyring(current="first"))], edges=[(0, ())])
    run = simulation.start(RotateSecret.tell_edge)
    for number in range(MAX_ROUNDS):
        assert run in simulation.runs
        run.step()
        simulation.edges.append((simulation.now, (f"another {number}",)))
        run.step()
        run.step()
    assert isinstance(run.outcome, TryAgain)
    assert simulation.ring == Keyring(current="first")


def test_secrets_are_never_logged(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    simulation = due_in(Phase.SETTLED)
    simulation.run()
    rotate(simulation)
    # Each step of a run replays those before it, and their log lines.
    phases = dict.fromkeys(record.__dict__["phase"] for record in caplog.records)
    assert list(phases) == ["introduced", "promoted", "settled"]
    logged = "".join(str(vars(record)) for record in caplog.records)
    assert not any(secret in logged for _, ring in simulation.rings for secret in ring.verifying)


# ------------------------------------------------------------------ several at once


def interleavings(simulation: Simulation) -> list[Simulation]:
    """Return every end that the simulation's runs can reach together, checked after each of their steps."""
    ended, waiting, visited = [], [simulation], set()
    while waiting:
        current = waiting.pop()
        if not current.runs:
            ended.append(current)
        for number in range(len(current.runs)):
            following = current.fork()
            following.runs[number].step()
            following.check()
            state = (
                tuple(ring for _, ring in following.rings),
                tuple(following.edges),
                *(repr(run.tape) + repr(run.begin) for run in following.runs),
            )
            if state not in visited:
                visited.add(state)
                waiting.append(following)
    return ended


@pytest.mark.parametrize(
    "other", [RotateSecret.__call__, RotateSecret.tell_edge], ids=["two steps", "a step, a deploy"]
)
@pytest.mark.parametrize("phase", Phase)
def test_concurrent_runs_keep_urls_valid(phase, other):
    simulation = due_in(phase)
    simulation.start()
    simulation.start(other)
    ends = interleavings(simulation)
    assert len(ends) > 1
    for end in ends:
        end.wait(RUN)
        end.run()
        end.check()
        assert end.edges[-1][1] == end.ring.verifying
        if phase is not Phase.SETTLED or end.ring.phase is not Phase.SETTLED:
            rotate(end)


def test_resumed_frozen_run_would_break_urls():
    """This is why functions/rotate/cloudformation.py leaves no thread behind."""
    simulation = due_in(Phase.SETTLED)
    simulation.run_ends_after = DAY
    simulation.run()
    simulation.rings.append((simulation.now, unknown_to_edge(simulation.ring)))
    frozen = simulation.start(RotateSecret.tell_edge)
    frozen.step()
    frozen.step()
    rotate(simulation)
    frozen.step()
    with pytest.raises(AssertionError, match="a URL signed with"):
        simulation.check()


# ------------------------------------------------------------------ anything at any time


class Rotation(RuleBasedStateMachine):
    """Up to three runs interleave and may die at any time; the schedule may be late or early."""

    times = TIMES

    def __init__(self) -> None:
        super().__init__()
        self.simulation = Simulation(times=self.times)

    @rule(passed=st.sampled_from([1, SECOND, 20 * SECOND, RUN, CACHED_FOR, SPREADS_WITHIN, SETTLE, HOUR, DAY]))
    def time_passes(self, passed: Millis) -> None:
        self.simulation.wait(passed)

    @rule(early=st.sampled_from([0, 1, SECOND, RUN]))
    def step_is_about_due(self, early: Millis) -> None:
        self.simulation.wait(max(0, self.simulation.until_due() - early))

    @rule(begin=BEGINS)
    def run_begins_and_ends(self, begin) -> None:
        self.simulation.responses_get_lost = False
        self.simulation.run(begin)

    @precondition(lambda self: len(self.simulation.runs) < 3)
    @rule(begin=BEGINS)
    def run_begins(self, begin) -> None:
        self.simulation.start(begin)

    @precondition(lambda self: self.simulation.runs)
    @rule(which=st.integers(0, 2), steps=st.integers(1, 4), lost=st.booleans())
    def run_continues(self, which: int, steps: int, lost: bool) -> None:
        run = self.simulation.runs[which % len(self.simulation.runs)]
        self.simulation.responses_get_lost = lost
        for _ in range(steps):
            if run in self.simulation.runs:
                run.step()
                self.simulation.check()

    @precondition(lambda self: self.simulation.runs)
    @rule(which=st.integers(0, 2))
    def run_dies(self, which: int) -> None:
        self.simulation.runs.pop(which % len(self.simulation.runs))

    @precondition(
        lambda self: (
            not self.simulation.runs and self.simulation.secrets_of_good_urls() == {self.simulation.ring.current}
        )
    )
    @rule()
    def edge_is_reset(self) -> None:
        """Reset the edge to the secret that it needs, as an operator may who restores the store."""
        self.simulation.edges.append((self.simulation.now, (self.simulation.ring.current,)))

    @invariant()
    def every_good_url_verifies_everywhere(self) -> None:
        self.simulation.check()

    def teardown(self) -> None:
        """Let the last run end and rotate twice; then one secret is left."""
        self.simulation.responses_get_lost = False
        self.simulation.wait(RUN + 1)
        self.simulation.run()
        old = self.simulation.ring.current
        for _ in range(2):
            self.simulation.wait(self.simulation.until_due())
            self.simulation.run()
            rotate(self.simulation)
        self.simulation.wait(SPREADS_WITHIN + URL_LIFE + CACHED_FOR + 1)
        assert old not in self.simulation.ring.verifying
        assert self.simulation.secrets_of_good_urls() == {self.simulation.ring.current}


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


class Hasty(Rotation):
    times = RotationTimes(interval=TIMES.interval, url_life=URL_LIFE - SETTLE)


@pytest.mark.parametrize(
    ("machine", "settles"),
    [(Rotation, CACHED_FOR - SECOND), (Rotation, SPREADS_WITHIN - SECOND), (Hasty, SETTLE)],
    ids=["settles below a cache's time", "settles below the edge's", "overlaps too shortly"],
)
def test_shorter_waits_break_urls(monkeypatch: pytest.MonkeyPatch, machine: type[Rotation], settles: Millis):
    monkeypatch.setattr(signing, "SETTLE", settles)
    _breaks(machine)
