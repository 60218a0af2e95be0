"""Tests which processes run the template's functions, and that an invocation ends in time."""

import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from dev.local.lambda_runtime import DRAIN_SECONDS, Functions, LambdaContext, rate_seconds
from dev.local.process import Program
from dev.local.resources import Resources
from dev.local.template import ROOT, Template


def options(process: Program) -> dict[str, str]:
    """Return the command-line options of a process."""
    return dict(word.removeprefix("--").split("=", 1) for word in process.command if word.startswith("--"))


@pytest.fixture
def functions(template: Template) -> Functions:
    refs = {"MergeQueue": "the-queue", "EdgeSecrets.Arn": "the-store"}
    resources = Resources(template, refs, tables_are_new=False)
    return Functions(resources, {}, {})


def test_every_event_of_the_template_has_a_process(template: Template, functions: Functions):
    kinds: dict[str, Any] = {
        "Api": functions.server(4),
        "SQS": [*functions.workers(1)],
        "ScheduleV2": [*functions.schedules(1)],
    }
    declared = {event["Type"] for function in template.functions.values() for event in function["Events"].values()}
    assert {kind for kind, processes in kinds.items() if processes} == declared


@pytest.mark.parametrize("count", [0, 1, 3])
def test_number_of_merge_workers_is_the_option(functions: Functions, count: int):
    workers = list(functions.workers(count))
    assert [worker.name for worker in workers] == [f"merge worker {number}" for number in range(1, count + 1)]
    assert {options(worker)["queue-url"] for worker in workers} <= {"the-queue"}


def test_intervals_are_the_options_or_the_templates(functions: Functions):
    schedules = {schedule.name: float(options(schedule)["interval"]) for schedule in functions.schedules(30)}
    assert schedules == {"cleanup schedule": 30, "cleanup orphans": 12 * 3600, "rotate schedule": 6 * 3600}


def test_interval_of_the_orphan_search_is_an_option(functions: Functions):
    schedules = {schedule.name: float(options(schedule)["interval"]) for schedule in functions.schedules(30, 5)}
    assert schedules == {"cleanup schedule": 30, "cleanup orphans": 5, "rotate schedule": 6 * 3600}


def test_custom_resource_is_created_by_its_function(functions: Functions):
    [custom_resource] = functions.custom_resources()
    assert options(custom_resource)["function"] == "RotateFunction"


@pytest.mark.parametrize(
    ("expression", "seconds"),
    [("rate(1 hour)", 3600), ("rate(5 minutes)", 300), ({"Fn::Sub": "rate(${X} minutes)"}, None)],
)
def test_rate_of_a_parameter_is_unknown(expression: Any, seconds: float | None):
    assert rate_seconds(expression) == seconds


def test_only_the_server_gets_the_listening_socket(functions: Functions):
    assert functions.server(4).passed == [4]
    assert all(not process.passed for process in (*functions.workers(1), *functions.schedules(1)))


# ------------------------------------------------------------------ invocations

PROGRAM = """
import sys, time
from dev.local.lambda_runtime import Execution, Stop
from dev.local.template import Template

def lambda_handler(event, context):
    print("invoked", flush=True)
    try:
        time.sleep(event["seconds"])
    except Exception as error:
        print("failed:", error, flush=True)
        raise
    return {"ended": True}

timeout, seconds = map(int, sys.argv[1:])
function = {"Handler": "__main__.lambda_handler", "Timeout": timeout, "MemorySize": 128}
template = Template({"Resources": {"F": {"Type": "AWS::Serverless::Function", "Properties": function}}})
stop = Stop()
print(Execution(template, "F", "us-east-1", stop)({"seconds": seconds}), stop.requested, flush=True)
"""


class Invocation:
    """Runs a function that takes some seconds, in a process of its own."""

    def __init__(self, *, timeout: int, seconds: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(timeout), str(seconds)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "invoked\n"
        self.invoked_at = time.monotonic()

    def end(self) -> tuple[str, str, float]:
        """Return what it wrote, and the seconds after which it ended."""
        output, errors = self.process.communicate(timeout=30)
        return output, errors, time.monotonic() - self.invoked_at


def test_invocation_may_end_by_itself_when_the_run_stops():
    invocation = Invocation(timeout=60, seconds=1)
    invocation.process.send_signal(signal.SIGTERM)
    output, _, _ = invocation.end()
    assert output == "{'ended': True} True\n"


def test_slow_invocation_is_interrupted_when_the_run_stops():
    invocation = Invocation(timeout=60, seconds=60)
    invocation.process.send_signal(signal.SIGTERM)
    output, _, seconds = invocation.end()
    assert output == "failed: the run stops\n"
    assert seconds == pytest.approx(DRAIN_SECONDS, abs=1)


def test_timeout_ends_the_process():
    output, errors, seconds = Invocation(timeout=1, seconds=60).end()
    assert (output, errors) == ("", "F timed out after 1 s\n")
    assert seconds == pytest.approx(1, abs=0.9)


def test_remaining_time_counts_down_from_the_timeout():
    context = LambdaContext("F", 128, timeout_seconds=300, region="us-east-1", started_at=time.monotonic() - 100)
    assert context.get_remaining_time_in_millis() == pytest.approx(200_000, abs=1000)
    late = LambdaContext("F", 128, timeout_seconds=300, region="us-east-1", started_at=time.monotonic() - 400)
    assert late.get_remaining_time_in_millis() == 0
