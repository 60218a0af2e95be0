"""Functions outlive the answers of AWS that emulators don't give.

Short runs give each kind to some call. With `--long`, every call of every step meets every kind.
"""

from collections.abc import Mapping, Sequence

import pytest

from dev.local.template import ROOT
from tests.guarantees.aws_calls.calls import Site, modules_with_http, services, sites
from tests.guarantees.aws_calls.cells import RAW, STEPS, Cell, calls_of, cells_of, kinds_for, sample, strike, warm_up
from tests.guarantees.aws_calls.environment import FUNCTIONS, Environment
from tests.guarantees.aws_calls.faulty_aws import Call
from tests.guarantees.aws_calls.kinds import KINDS, SERVICES
from tests.guarantees.aws_calls.page import rows
from tests.guarantees.aws_calls.raw_store import RAW_KINDS
from tests.guarantees.aws_calls.step import Step

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
"""The first test waits for an entry's whole life, which takes minutes on a busy machine."""

OF_THE_COMMAND_LINE = {
    Site("sqs.py", f"SqsDeadLetters.{name}") for name in ("_receive_all", "_release", "behind", "delete")
}
"""Operations that no function calls: an operator who redrives dead letters sees what went wrong."""

UNAWAITED = {
    Site("dynamodb_repositories.py", "DynamoDbRepositories.add_refusals"): "tests/unit/flows/test_refused_jobs.py",
    Site("dynamodb_repositories.py", "DynamoDbRepositories.note_usage"): "tests/unit/flows/test_reading_in_time.py",
}
"""Tests of the operations that no step makes, since no request waits for them."""

CHECKED_TOGETHER = 20
"""Number of cells in a row. Fewer: more checks. More: each of cleanup's has to do what those before it left."""

HTTP_MODULES = {
    "functions/api/tokens.py": "tests/unit/api/test_tokens.py, `trouble`",
    "functions/download/handler.py": "urllib.parse alone",
    "functions/rotate/cloudformation.py": "tests/unit/rotate/test_cloudformation.py",
    "functions/api/passthrough.py": "tests/unit/api/test_passthrough.py",
    "layers/core/actions_cache/aws/s3.py": "urllib.parse alone",
    "layers/core/actions_cache/domain/delivery.py": "urllib.parse alone",
    "layers/core/actions_cache/aws/s3_stream.py": "raw_store.py, and test_connections.py",
    "layers/core/actions_cache/settings.py": "urllib.parse alone",
    "layers/core/actions_cache/http/app.py": "urllib.parse alone",
}
"""Modules with an HTTP client of their own, and where its faults are tested."""


Life = Mapping[Step, Sequence[Call]]
"""The calls of each step when nothing goes wrong."""


@pytest.fixture(scope="module")
def life(environment: Environment) -> Life:
    warm_up(environment)
    return {step: calls_of(environment, step) for step in STEPS}


@pytest.fixture(scope="module")
def cells(life: Life, is_long: bool) -> Sequence[Cell]:
    if is_long:
        return [cell for step, calls in life.items() for cell in cells_of(step, calls)]
    return list(sample(life))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_function_outlives_every_answer_of_aws(environment: Environment, cells: Sequence[Cell], function: str):
    failed: dict[str, str] = {}
    of_function = [cell for cell in cells if cell.step.function == function]
    for start in range(0, len(of_function), CHECKED_TOGETHER):
        environment.empty()
        for cell in of_function[start : start + CHECKED_TOGETHER]:
            try:
                strike(environment, cell)
            except (AssertionError, pytest.fail.Exception) as error:
                failed[str(cell)] = str(error)[:500]
        if not failed:
            environment.check()
    assert not failed, "\n".join(f"{cell}: {error}" for cell, error in failed.items())


# ---------------------------------------------------------------- completeness of the tables


def test_every_call_site_of_the_adapters_is_reached(environment: Environment, life: Life):
    missed = sites() - environment.aws.reached.keys()
    assert missed == OF_THE_COMMAND_LINE | UNAWAITED.keys(), "add the step that makes this call"


def test_every_called_operation_has_its_kinds(life: Life, cells: Sequence[Cell]):
    """And the tables have no other operation, service or kind."""
    calls = {(call.service, call.operation): call for calls in life.values() for call in calls}
    bare = [str(call) for call in calls.values() if len(kinds_for(call)) < len(SERVICES)]
    assert bare == [], "add it to the tables of tests/guarantees/aws_calls/kinds.py"
    inside_streams = {("s3", "PutObject"), ("s3", "GetObject")}
    listed = {(service, operation) for service, operations in SERVICES.items() for operation in operations}
    assert listed - inside_streams <= calls.keys()
    assert {service.replace("secretsm", "secrets-m") for service in services()} | {"dynamodb"} == SERVICES.keys()
    met = {(cell.call.service, cell.kind.name) for cell in cells}
    assert met >= {(kind.service, kind.name) for kind in KINDS} | {(RAW, kind.name) for kind in RAW_KINDS}


def test_every_module_with_an_http_client_is_listed():
    assert modules_with_http() == HTTP_MODULES.keys(), "say where its faults are tested"


def test_guarantees_page_has_the_list():
    page = (ROOT / "docs" / "design" / "guarantees.md").read_text()
    assert "\n".join(rows()) in page, "put what `python -m tests.guarantees.aws_calls.page` prints there"
