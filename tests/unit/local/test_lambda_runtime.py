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
    assert functions.server(4).passed == [4], "the listening socket"
    assert not any(process.passed for process in (*functions.workers(1), *functions.schedules(1)))
    [custom_resource] = functions.custom_resources()
    assert options(custom_resource)["function"] == "RotateFunction"
    for count in (0, 3):
        workers = [*functions.workers(count)]
        assert [worker.name for worker in workers] == [f"merge worker {number}" for number in range(1, count + 1)]
        assert {options(worker)["queue-url"] for worker in workers} <= {"the-queue"}
    for chosen, orphans in (((30,), 12 * 3600), ((30, 5), 5)):
        schedules = {schedule.name: float(options(schedule)["interval"]) for schedule in functions.schedules(*chosen)}
        assert schedules == {"cleanup schedule": 30, "cleanup orphans": orphans, "rotate schedule": 6 * 3600}


@pytest.mark.parametrize(
    ("expression", "seconds"),
    [("rate(1 hour)", 3600), ("rate(5 minutes)", 300), ({"Fn::Sub": "rate(${X} minutes)"}, None)],
)
def test_rate_of_a_parameter_is_unknown(expression: Any, seconds: float | None):
    assert rate_seconds(expression) == seconds


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


@pytest.mark.parametrize(
    ("takes", "said", "at_least"), [(1, "{'ended': True} True\n", 0.5), (60, "failed: the run stops\n", DRAIN_SECONDS)]
)
def test_invocation_is_interrupted_only_if_it_does_not_end(takes: int, said: str, at_least: float):
    invocation = Invocation(timeout=60, seconds=takes)
    invocation.process.send_signal(signal.SIGTERM)
    output, _, seconds = invocation.end()
    assert output == said
    assert at_least <= seconds < 30


def test_timeout_ends_the_process():
    output, errors, seconds = Invocation(timeout=1, seconds=60).end()
    assert (output, errors) == ("", "F timed out after 1 s\n")
    assert 0.5 < seconds < 30


def test_remaining_time_counts_down_from_the_timeout():
    context = LambdaContext("F", 128, timeout_seconds=300, region="us-east-1", started_at=time.monotonic() - 100)
    assert context.get_remaining_time_in_millis() == pytest.approx(200_000, abs=1000)
    late = LambdaContext("F", 128, timeout_seconds=300, region="us-east-1", started_at=time.monotonic() - 400)
    assert late.get_remaining_time_in_millis() == 0
