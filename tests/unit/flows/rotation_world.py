"""The rotation's surroundings, with time, delays and races in a test's hands.

Runs of the use case go on one store operation at a time, in any order, and may die between any two. What functions
and edges may believe at a moment is everything that was true within their delay before it, so `check` holds for each
age of a cache and each speed of the edge at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from actions_cache.aws.secrets import SIGNING_KEPT_SECONDS
from actions_cache.domain.signing import Keyring, RotationTimes
from actions_cache.domain.timing import DAY, SECOND, Millis
from actions_cache.ports import KnownToEdge, WriteConflict
from actions_cache.rotate import RotateSecret
from tests.unit.domain.build import NOW

BELIEVED: Millis = SIGNING_KEPT_SECONDS * SECOND
"""Time for which a function that can't read the secret anew believes the old one."""
SPREADS: Millis = 600 * SECOND
"""The slowest edge."""
RUN: Millis = 60 * SECOND
"""The function's timeout, which ends a run wherever it stands."""
URL_LIFE: Millis = 3600 * SECOND
TIMES = RotationTimes(interval=30 * DAY, url_life=URL_LIFE)

Secrets = tuple[str, ...]
T = TypeVar("T")


class Paused(BaseException):
    """The run has done what it was to do; no handler of the use case may take it for an error."""


@dataclass
class World:
    times: RotationTimes = TIMES
    now: Millis = NOW
    rings: list[tuple[Millis, Keyring]] = field(
        default_factory=lambda: [(NOW - DAY, Keyring(current="first", changed_at=NOW))]
    )
    """What stood in Secrets Manager, and since when."""
    told: list[tuple[Millis, Secrets]] = field(default_factory=lambda: [(NOW - DAY, ("first",))])
    """What stood in the KeyValueStore; its version is how often it was written."""
    made: int = 0
    answers_get_lost: bool = False
    """Of writes to the edge: botocore then asks again, and is told of a conflict with its own write."""
    runs: list["Run"] = field(default_factory=list)
    a_run_ends_after: Millis = RUN

    @property
    def ring(self) -> Keyring:
        return self.rings[-1][1]

    def fork(self) -> "World":
        copy = replace(self, rings=list(self.rings), told=list(self.told), runs=[])
        copy.runs = [Run(copy, run.begin, run.started_at, list(run.tape)) for run in self.runs]
        return copy

    def start(self, begin: Callable[[RotateSecret], object] = RotateSecret.__call__) -> "Run":
        self.runs.append(Run(self, begin, self.now))
        return self.runs[-1]

    def run(self, begin: Callable[[RotateSecret], object] = RotateSecret.__call__) -> Any:
        """One run from its beginning to its end. Returns its outcome."""
        run = self.start(begin)
        while run in self.runs:
            run.step()
        return run.outcome

    def wait(self, passed: Millis) -> None:
        self.now += passed
        self.runs = [run for run in self.runs if self.now - run.started_at <= self.a_run_ends_after]

    def until_due(self) -> Millis:
        """How long the present phase still lasts."""
        return max(0, (self.ring.changed_at or 0) + self.times.of(self.ring.phase) - self.now)

    def check(self) -> None:
        """Every URL that a function may have signed, and that isn't over, verifies everywhere."""
        views = [("edge", secrets) for secrets in self._within(SPREADS, self.told)]
        views += [("function", ring.verifying) for ring in self._within(BELIEVED, self.rings)]
        for secret in self.secrets_of_good_urls():
            for who, verifying in views:
                assert secret in verifying, f"a URL signed with {secret} is good, and the {who} knows {verifying}"

    def secrets_of_good_urls(self) -> set[str]:
        return {ring.current for ring in self._within(BELIEVED + URL_LIFE - 1, self.rings)}

    def _within(self, delay: Millis, history: Sequence[tuple[Millis, T]]) -> list[T]:
        """What was true at some moment within the delay before now."""
        ends = [*(since for since, _ in history[1:]), self.now]
        return [value for (_, value), ended in zip(history, ends, strict=True) if ended >= self.now - delay]


@dataclass(eq=False)
class Run:
    """One call of the use case; also the ports that it asks, whose answers are taped.

    A step calls the use case anew, plays it what it was answered before, and lets it do one thing more.
    """

    world: World
    begin: Callable[[RotateSecret], object]
    started_at: Millis
    tape: list[Any] = field(default_factory=list)
    outcome: Any = None
    _played: int = 0
    _may: int = 0

    def step(self) -> None:
        self._played, self._may = 0, 1
        stores, edge = _Stores(self), _Edge(self)
        try:
            self.outcome = self.begin(RotateSecret(stores, edge, _Clock(self), _Tokens(self), self.world.times))
        except Paused:
            return
        except Exception as error:  # noqa: BLE001 - a run may fail as it likes, if only nothing breaks
            self.outcome = error
        self.world.runs.remove(self)

    def ask(self, operation: Callable[[], T], cost: int = 1) -> T:
        if self._played == len(self.tape):
            if self._may < cost:
                raise Paused
            self._may -= cost
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
class _Stores:
    run: Run

    def read(self) -> Keyring:
        return self.run.ask(lambda: self.run.world.ring)

    def write(self, ring: Keyring) -> None:
        self.run.ask(lambda: self.run.world.rings.append((self.run.world.now, ring)))


@dataclass
class _Edge:
    run: Run

    def read(self) -> KnownToEdge:
        told = self.run.world.told
        return self.run.ask(lambda: KnownToEdge(told[-1][1], str(len(told))))

    def write(self, secrets: Sequence[str], seen: KnownToEdge) -> None:
        self.run.ask(partial(self._write, tuple(secrets), seen.version))

    def _write(self, secrets: Secrets, version: str) -> None:
        world = self.run.world
        if version != str(len(world.told)):
            raise WriteConflict
        world.told.append((world.now, secrets))
        if world.answers_get_lost:
            raise WriteConflict


@dataclass
class _Clock:
    run: Run

    def now(self) -> Millis:
        return self.run.ask(lambda: self.run.world.now, cost=0)


@dataclass
class _Tokens:
    run: Run

    def new(self) -> str:
        return self.run.ask(self._new, cost=0)

    def _new(self) -> str:
        self.run.world.made += 1
        return f"made {self.run.world.made},"
