"""Builds the matrix: a function's step, one of its calls, the answer to that, and how long it lasts."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, cycle
from math import inf

import pytest

from tests.guarantees.aws_calls.kinds import Kind, kinds_of
from tests.guarantees.aws_calls.meaner import Call
from tests.guarantees.aws_calls.raw_store import RAW_KINDS, RawKind
from tests.guarantees.aws_calls.steps import STEPS, Step
from tests.guarantees.aws_calls.world import FUNCTIONS, Asked, World

ONCE, LONGER_THAN_RETRIES = 1, 40
LENGTHS = (ONCE, LONGER_THAN_RETRIES, inf)
"""Lengths of a fault, in requests."""

ROUNDS = 4
"""Attempts after a fault, within which the work must be done."""

_numbers = count()


@dataclass(frozen=True)
class Cell:
    step: Step
    call: Call
    kind: Kind | RawKind
    length: float

    def __str__(self) -> str:
        lasts = {ONCE: "once", inf: "always"}.get(self.length, f"{self.length} times")
        return f"{self.step} / {self.call} / {self.kind} {lasts}"


RAW = "s3 by a stream"


def warm_up(world: World) -> None:
    """Let each function ask what its process asks only once."""
    for function in FUNCTIONS:
        step = steps_of(function)[0]
        given = step.begin(world, _key())
        world.invoke(function, step.event(world, given))


def calls_of(world: World, step: Step) -> list[Call]:
    """Return a step's calls without a fault, streams' own requests included, and check that its work is done."""
    # Or what other steps left would be its work too.
    world.empty()
    if step.function == "cleanup":
        # Cold starts leave tables that are to be migrated.
        world.invoke("cleanup", {})
    given = step.begin(world, _key())
    event = step.event(world, given)
    world.aws.count_from_now()
    world.store.asked.clear()
    asked = world.invoke(step.function, event, step.seconds)
    calls = list(world.aws.calls)
    by_streams = list(dict.fromkeys(world.store.asked))
    assert step.is_done(world, given, asked), (str(step), asked)
    inside = (lambda call: call.operation in ("GetObject", "PutObject")) if by_streams else lambda _: False
    ours = [call for call in calls if not (inside(call) and _is_the_stores(step, call))]
    return [*ours, *(Call(RAW, method, 1) for method in by_streams)]


def _is_the_stores(step: Step, call: Call) -> bool:
    """Return whether the raw store answers it for a stream; the function's own reads and writes are another step's."""
    return step.function in ("api", "download")


def cells_of(step: Step, calls: Sequence[Call]) -> Iterator[Cell]:
    """Yield each call with each kind of answer; the lengths take turns."""
    lengths = cycle(LENGTHS)
    for call in calls:
        for kind in kinds_for(call):
            yield Cell(step, call, kind, next(lengths))


def chosen(calls: Mapping[Step, Sequence[Call]], each: int) -> Iterator[Cell]:
    """Yield few enough cells for every run: `each` of a function's operation, and each kind of a service once."""
    used: Counter[tuple[str, str]] = Counter()
    lengths = cycle(LENGTHS)
    places: dict[tuple[str, str, str], tuple[Step, Call]] = {}
    for step, asked in calls.items():
        for call in asked:
            if call.number == 1 and not step.is_slow:
                places.setdefault((step.function, call.service, call.operation), (step, call))
    for step, call in places.values():
        kinds = sorted(kinds_for(call), key=lambda kind: used[call.service, kind.name])
        for kind in kinds[:each]:
            used[call.service, kind.name] += 1
            yield Cell(step, call, kind, next(lengths))
    for step, call in places.values():
        for kind in kinds_for(call):
            if not used[call.service, kind.name]:
                used[call.service, kind.name] += 1
                yield Cell(step, call, kind, next(lengths))


def kinds_for(call: Call) -> Sequence[Kind | RawKind]:
    if call.service == RAW:
        return [kind for kind in RAW_KINDS if call.operation in kind.methods]
    return kinds_of(call.service, call.operation)


def strike(world: World, cell: Cell) -> None:
    """Apply one cell: the fault, its end, and the work, which must be done."""
    step = cell.step
    given = step.begin(world, _key())
    world.unexpected.clear()
    asked, met = _asked_in_fault(world, cell, given)
    assert met, "nothing met the fault"
    step.judge(world, given, asked)
    again: Asked | None = None
    for _ in range(ROUNDS):
        again = world.invoke(step.function, step.event(world, given), step.seconds)
        if step.is_done(world, given, again) or (step.may_be_taken and again.status == 409):
            return
        world.clock.advance(step.timeout)
    pytest.fail(f"not done after the fault was over: {again}")


def _asked_in_fault(world: World, cell: Cell, given: object) -> tuple[Asked, int]:
    event = cell.step.event(world, given)
    if isinstance(cell.kind, RawKind):
        with world.store.answering(cell.call.operation, cell.kind, cell.length):
            return world.invoke(cell.step.function, event, cell.step.seconds), world.store.met
    with world.aws.answering(cell.call, cell.kind, cell.length):
        return world.invoke(cell.step.function, event, cell.step.seconds), world.aws.met


def _key() -> str:
    """Return a new key each time, since an archive's key can't be taken twice."""
    return f"npm-{next(_numbers):06d}-x"


def steps_of(function: str) -> list[Step]:
    return [step for step in STEPS if step.function == function]
