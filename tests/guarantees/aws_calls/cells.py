"""Builds the matrix of a function's step, one of its calls, the answer to that, and how long the fault lasts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, cycle
from math import inf

import pytest

from tests.guarantees.aws_calls.background_steps import OF_CLEANUP, OF_MERGE, OF_ROTATE
from tests.guarantees.aws_calls.environment import FUNCTIONS, Environment, Outcome
from tests.guarantees.aws_calls.faulty_aws import Call
from tests.guarantees.aws_calls.kinds import Kind, kinds_of
from tests.guarantees.aws_calls.raw_store import RAW_KINDS, RawKind
from tests.guarantees.aws_calls.request_steps import OF_API, OF_DOWNLOAD, OF_MANAGE
from tests.guarantees.aws_calls.step import Step

STEPS = (*OF_API, *OF_DOWNLOAD, *OF_MERGE, *OF_CLEANUP, *OF_MANAGE, *OF_ROTATE)

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


def warm_up(environment: Environment) -> None:
    """Let each function make the calls that its process makes only once."""
    for function in FUNCTIONS:
        step = steps_of(function)[0]
        given = step.begin(environment, _key())
        environment.invoke(function, step.event(environment, given))


def calls_of(environment: Environment, step: Step) -> list[Call]:
    """Return a step's calls without a fault, streams' own requests included, and check that its work is done."""
    # Otherwise what other steps left would be its work too.
    environment.empty()
    if step.function == "cleanup":
        # Cold starts leave tables that are to be migrated.
        environment.invoke("cleanup", {})
    given = step.begin(environment, _key())
    event = step.event(environment, given)
    environment.aws.count_from_now()
    environment.store.methods.clear()
    outcome = environment.invoke(step.function, event, step.seconds)
    calls = list(environment.aws.calls)
    by_streams = list(dict.fromkeys(environment.store.methods))
    assert step.is_done(environment, given, outcome), (str(step), outcome)
    if by_streams and step.function in ("api", "download"):
        # The raw store makes these calls for a stream; the function's own reads and writes are another step's.
        calls = [call for call in calls if call.operation not in ("GetObject", "PutObject")]
    return [*calls, *(Call(RAW, method, 1) for method in by_streams)]


def cells_of(step: Step, calls: Sequence[Call]) -> Iterator[Cell]:
    """Yield each call with each kind of answer; the lengths take turns."""
    lengths = cycle(LENGTHS)
    for call in calls:
        for kind in kinds_for(call):
            yield Cell(step, call, kind, next(lengths))


def sample(calls: Mapping[Step, Sequence[Call]]) -> Iterator[Cell]:
    """Yield few enough cells for every run: each operation of a function once, and each kind of a service once."""
    used: set[tuple[str, str]] = set()
    lengths = cycle(LENGTHS)
    places: dict[tuple[str, str, str], tuple[Step, Call]] = {}
    for step, step_calls in calls.items():
        for call in step_calls:
            if call.number == 1 and not step.is_slow:
                places.setdefault((step.function, call.service, call.operation), (step, call))
    for step, call in places.values():
        kinds = kinds_for(call)
        unused = [kind for kind in kinds if (call.service, kind.name) not in used]
        for kind in (unused or kinds)[:1]:
            used.add((call.service, kind.name))
            yield Cell(step, call, kind, next(lengths))
    for step, call in places.values():
        for kind in kinds_for(call):
            if (call.service, kind.name) not in used:
                used.add((call.service, kind.name))
                yield Cell(step, call, kind, next(lengths))


def kinds_for(call: Call) -> Sequence[Kind | RawKind]:
    if call.service == RAW:
        return [kind for kind in RAW_KINDS if call.operation in kind.methods]
    return kinds_of(call.service, call.operation)


def strike(environment: Environment, cell: Cell) -> None:
    """Apply one cell: the fault, its end, and the work, which must be done."""
    step = cell.step
    given = step.begin(environment, _key())
    environment.unexpected.clear()
    outcome, met = _invoke_in_fault(environment, cell, given)
    assert met, "nothing met the fault"
    step.judge(environment, given, outcome)
    again: Outcome | None = None
    for _ in range(ROUNDS):
        again = environment.invoke(step.function, step.event(environment, given), step.seconds)
        if step.is_done(environment, given, again) or (step.may_be_taken and again.status == 409):
            return
        environment.clock.advance(step.retry_seconds)
    pytest.fail(f"not done after the fault was over: {again}")


def _invoke_in_fault(environment: Environment, cell: Cell, given: object) -> tuple[Outcome, int]:
    event = cell.step.event(environment, given)
    if isinstance(cell.kind, RawKind):
        with environment.store.answering(cell.call.operation, cell.kind, cell.length):
            return environment.invoke(cell.step.function, event, cell.step.seconds), environment.store.met
    with environment.aws.answering(cell.call, cell.kind, cell.length):
        return environment.invoke(cell.step.function, event, cell.step.seconds), environment.aws.met


def _key() -> str:
    """Return a new key each time, since an archive's key can't be taken twice."""
    return f"npm-{next(_numbers):06d}-x"


def steps_of(function: str) -> list[Step]:
    return [step for step in STEPS if step.function == function]
