"""Each function meets each kind of AWS's answers that the engines don't give, as many as fit every run.

tests/guarantees/slow/aws_calls has every call with every kind.
"""

from collections.abc import Mapping, Sequence

import pytest

from dev.local.template import ROOT
from tests.guarantees.aws_calls.calls import Site, modules_with_http, services, sites
from tests.guarantees.aws_calls.cells import RAW, Cell, calls_of, chosen, kinds_for, strike, warm_up
from tests.guarantees.aws_calls.kinds import KINDS, SERVICES
from tests.guarantees.aws_calls.meaner import Call
from tests.guarantees.aws_calls.page import rows
from tests.guarantees.aws_calls.raw_store import RAW_KINDS
from tests.guarantees.aws_calls.steps import STEPS, Step
from tests.guarantees.aws_calls.world import FUNCTIONS, World

pytestmark = pytest.mark.timeout(900)
"""The first test waits for an entry's whole life, which takes minutes on a busy machine."""

EACH = 1
"""Kinds for each operation of each function."""

OF_THE_COMMAND_LINE = {
    Site("sqs.py", f"SqsDeadLetters.{name}") for name in ("_receive_all", "_release", "behind", "delete")
}
"""Operations that no function calls: an operator who replays letters sees what went wrong (actions_cache_cli/)."""

BESIDE = {
    Site("dynamodb_repositories.py", "DynamoDbRepositories.add_refusals"): "tests/unit/flows/test_refused_jobs.py",
}
"""Maps each operation that no step makes, since no request waits for it, to the test of its faults."""

CHECKED_TOGETHER = 20
"""Cells. Fewer: more checks. More: each of cleanup's has what those before it left as its work too."""

HTTP_MODULES = {
    "functions/api/tokens.py": "tests/unit/api/test_tokens.py, `trouble`",
    "functions/download/handler.py": "urllib.parse alone",
    "functions/rotate/cloudformation.py": "tests/unit/rotate/test_cloudformation.py",
    "functions/api/passthrough.py": "tests/unit/api/test_passthrough.py",
    "layers/core/actions_cache/aws/s3_stream.py": "raw_store.py, and test_connections.py",
    "layers/core/actions_cache/settings.py": "urllib.parse alone",
    "layers/core/actions_cache/http/app.py": "urllib.parse alone",
}
"""Modules with an HTTP client of their own, and where their faults are tested."""


@pytest.fixture(scope="module")
def life(world: World) -> Mapping[Step, Sequence[Call]]:
    """Return each step's calls when nothing goes wrong."""
    warm_up(world)
    return {step: calls_of(world, step) for step in STEPS}


@pytest.fixture(scope="module")
def cells(life: Mapping[Step, Sequence[Call]]) -> Sequence[Cell]:
    return list(chosen(life, EACH))


def test_every_place_in_the_code_that_asks_aws_is_reached(world: World, life: object):
    missed = sites() - world.aws.reached.keys()
    assert missed == OF_THE_COMMAND_LINE | BESIDE.keys(), (
        "give the step that asks for it to tests/guarantees/aws_calls/steps.py"
    )


def test_every_operation_that_is_asked_for_has_its_kinds(life: Mapping[Step, Sequence[Call]]):
    asked = {call.operation: call for calls in life.values() for call in calls}
    bare = [str(call) for call in asked.values() if len(kinds_for(call)) < len(SERVICES)]
    assert bare == [], "add it to the tables of tests/guarantees/aws_calls/kinds.py"


def test_the_table_has_no_operation_that_nobody_asks_for(life: Mapping[Step, Sequence[Call]]):
    asked = {(call.service, call.operation) for calls in life.values() for call in calls}
    inside_streams = {("s3", "PutObject"), ("s3", "GetObject")}
    listed = {(service, operation) for service, operations in SERVICES.items() for operation in operations}
    assert listed - inside_streams <= asked


def test_every_service_that_a_client_is_made_of_is_in_the_table():
    named = {"secretsmanager": "secrets-manager"}
    assert {named.get(it, it) for it in services()} | {"dynamodb"} == SERVICES.keys()


def test_every_module_with_http_of_its_own_has_its_faults():
    assert modules_with_http() == HTTP_MODULES.keys(), "say where they are tested"


def test_every_kind_has_a_source():
    sources = {it.name: it.source for it in KINDS} | {it.name: it.source for it in RAW_KINDS}
    assert [name for name, source in sources.items() if not source.startswith("https://")] == []


def test_the_reliability_page_has_the_table():
    page = (ROOT / "docs" / "reliability.md").read_text()
    assert "\n".join(rows()) in page, "put what `python -m tests.guarantees.aws_calls.page` prints there"


def test_each_kind_is_met_in_every_run(cells: Sequence[Cell]):
    met = {(cell.call.service, cell.kind.name) for cell in cells}
    assert met >= {(kind.service, kind.name) for kind in KINDS} | {(RAW, kind.name) for kind in RAW_KINDS}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_outlives_what_aws_answers(world: World, cells: Sequence[Cell], function: str):
    of_it = [cell for cell in cells if cell.step.function == function]
    for start in range(0, len(of_it), CHECKED_TOGETHER):
        world.empty()
        for cell in of_it[start : start + CHECKED_TOGETHER]:
            try:
                strike(world, cell)
            except (AssertionError, pytest.fail.Exception) as fault:
                pytest.fail(f"{cell}: {fault}")
        world.check()
