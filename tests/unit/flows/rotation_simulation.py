"""Simulate the stores that the rotation writes to, with time, delays and races controlled by a test.

Runs of the use case continue one store operation at a time, in any order, and may die between any two. At any moment,
functions and edges may use everything that was current within their delay before it, so one `check` covers each age of
a cache and each speed of the edge.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from actions_cache.aws.secrets import SIGNING_KEPT_SECONDS
from actions_cache.domain.signing import Keyring, KnownToEdge, RotationTimes
from actions_cache.domain.timing import DAY, SECOND, Millis
from actions_cache.ports import WriteConflict
from actions_cache.rotate import RotateSecret
from tests.unit.domain.build import NOW

CACHED_FOR: Millis = SIGNING_KEPT_SECONDS * SECOND
"""Time for which a function uses an old secret that it can't read again."""
SPREADS_WITHIN: Millis = 600 * SECOND
"""Time within which the slowest edge location knows a change."""
RUN: Millis = 60 * SECOND
"""The function's timeout, which ends a run wherever it is."""
URL_LIFE: Millis = 3600 * SECOND
TIMES = RotationTimes(interval=30 * DAY, url_life=URL_LIFE)

Secrets = tuple[str, ...]
T = TypeVar("T")


class Paused(BaseException):
    """Ends a run's step. It is no Exception, so that the use case doesn't handle it."""


@dataclass
class Simulation:
    """Holds the history of both stores, and the runs under way."""

    times: RotationTimes = TIMES
    now: Millis = NOW
    rings: list[tuple[Millis, Keyring]] = field(
        default_factory=lambda: [(NOW - DAY, Keyring(current="first", changed_at=NOW))]
    )
    """Keyrings that Secrets Manager had, each with the time since when."""
    edges: list[tuple[Millis, Secrets]] = field(default_factory=lambda: [(NOW - DAY, ("first",))])
    """Secrets that the KeyValueStore had, each with the time since when; their number is its version."""
    tokens_made: int = 0
    responses_get_lost: bool = False
    """True if responses to writes to the edge get lost: botocore retries, and gets a conflict with its own write."""
    runs: list["Run"] = field(default_factory=list)
    run_ends_after: Millis = RUN

    @property
    def ring(self) -> Keyring:
        return self.rings[-1][1]

    def fork(self) -> "Simulation":
        copy = replace(self, rings=list(self.rings), edges=list(self.edges), runs=[])
        copy.runs = [Run(copy, run.begin, run.started_at, list(run.tape)) for run in self.runs]
        return copy

    def start(self, begin: Callable[[RotateSecret], object] = RotateSecret.__call__) -> "Run":
        self.runs.append(Run(self, begin, self.now))
        return self.runs[-1]

    def run(self, begin: Callable[[RotateSecret], object] = RotateSecret.__call__) -> Any:
        """Run the use case from beginning to end, and return its outcome."""
        run = self.start(begin)
        while run in self.runs:
            run.step()
        return run.outcome

    def wait(self, passed: Millis) -> None:
        self.now += passed
        self.runs = [run for run in self.runs if self.now - run.started_at <= self.run_ends_after]

    def until_due(self) -> Millis:
        """Return how long the current phase still lasts."""
        return max(0, (self.ring.changed_at or 0) + self.times.of(self.ring.phase) - self.now)

    def check(self) -> None:
        """Check that every unexpired URL that a function may have signed verifies everywhere.

        Raises:
            AssertionError: one doesn't.
        """
        views = [("edge", secrets) for secrets in self._within(SPREADS_WITHIN, self.edges)]
        views += [("function", ring.verifying) for ring in self._within(CACHED_FOR, self.rings)]
        for secret in self.secrets_of_good_urls():
            for place, verifying in views:
                assert secret in verifying, f"a URL signed with {secret} is good, and the {place} knows {verifying}"

    def secrets_of_good_urls(self) -> set[str]:
        return {ring.current for ring in self._within(CACHED_FOR + URL_LIFE - 1, self.rings)}

    def _within(self, delay: Millis, history: Sequence[tuple[Millis, T]]) -> list[T]:
        """Return the values that were current at some moment within the delay before now."""
        ends = [*(since for since, _ in history[1:]), self.now]
        return [value for (_, value), ended in zip(history, ends, strict=True) if ended >= self.now - delay]


@dataclass(eq=False)
class Run:
    """One call of the use case. The answers of its ports are recorded on a tape.

    A step calls the use case again, replays the answers so far, and lets it do one more operation.
    """

    simulation: Simulation
    begin: Callable[[RotateSecret], object]
    started_at: Millis
    tape: list[Any] = field(default_factory=list)
    outcome: Any = None
    _played: int = 0
    _allowed: int = 0

    def step(self) -> None:
        self._played, self._allowed = 0, 1
        keyrings, edge = _Keyrings(self), _Edge(self)
        try:
            self.outcome = self.begin(RotateSecret(keyrings, edge, _Clock(self), _Tokens(self), self.simulation.times))
        except Paused:
            return
        except Exception as error:  # noqa: BLE001 - a run may fail in any way, as long as no URL breaks
            self.outcome = error
        self.simulation.runs.remove(self)

    def ask(self, operation: Callable[[], T], cost: int = 1) -> T:
        if self._played == len(self.tape):
            if self._allowed < cost:
                raise Paused
            self._allowed -= cost
            try:
                self.tape.append(operation())
            except WriteConflict as conflict:
                self.tape.append(conflict)
        self._played += 1
        answer = self.tape[self._played - 1]
        if isinstance(answer, WriteConflict):
            raise answer
        return answer  # type: ignore[no-any-return]


@dataclass
class _Keyrings:
    run: Run

    def read(self) -> Keyring:
        return self.run.ask(lambda: self.run.simulation.ring)

    def write(self, ring: Keyring) -> None:
        self.run.ask(lambda: self.run.simulation.rings.append((self.run.simulation.now, ring)))


@dataclass
class _Edge:
    run: Run

    def read(self) -> KnownToEdge:
        edges = self.run.simulation.edges
        return self.run.ask(lambda: KnownToEdge(edges[-1][1], str(len(edges))))

    def write(self, secrets: Sequence[str], current: KnownToEdge) -> None:
        self.run.ask(partial(self._write, tuple(secrets), current.version))

    def _write(self, secrets: Secrets, version: str) -> None:
        simulation = self.run.simulation
        if version != str(len(simulation.edges)):
            raise WriteConflict
        simulation.edges.append((simulation.now, secrets))
        if simulation.responses_get_lost:
            raise WriteConflict


@dataclass
class _Clock:
    run: Run

    def now(self) -> Millis:
        return self.run.ask(lambda: self.run.simulation.now, cost=0)


@dataclass
class _Tokens:
    run: Run

    def new(self) -> str:
        return self.run.ask(self._new, cost=0)

    def _new(self) -> str:
        self.run.simulation.tokens_made += 1
        return f"made {self.run.simulation.tokens_made},"
