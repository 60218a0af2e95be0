"""A function's invocation ends in time: by its timeout, and when the run stops."""

import os
import signal
import subprocess
import sys
import time

import pytest

from dev.local.execution import DRAIN_SECONDS
from dev.local.lambda_context import LambdaContext
from dev.local.template import ROOT

PROGRAM = """
import sys, time
from dev.local.execution import Execution, Stop
from dev.local.template import Template

def lambda_handler(event, context):
    print("invoked", flush=True)
    try:
        time.sleep(event["seconds"])
    except Exception as error:
        print("failed:", error, flush=True)
        raise
    return {"ended": True}

timeout, seconds, lifeline = map(int, sys.argv[1:])
function = {"Handler": "__main__.lambda_handler", "Timeout": timeout, "MemorySize": 128}
template = Template({"Resources": {"F": {"Type": "AWS::Serverless::Function", "Properties": function}}})
stop = Stop(lifeline)
print(Execution(template, "F", "us-east-1", stop)({"seconds": seconds}), stop.requested, flush=True)
"""


class Invocation:
    """Of a function that takes so many seconds, in a process with a lifeline."""

    def __init__(self, *, timeout: int, seconds: int) -> None:
        watch, self.keep = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(timeout), str(seconds), str(watch)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=[watch],
        )
        os.close(watch)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "invoked\n"
        self.invoked_at = time.monotonic()

    def end(self) -> tuple[str, str, float]:
        """What it wrote, and after how many seconds it ended."""
        output, errors = self.process.communicate(timeout=30)
        return output, errors, time.monotonic() - self.invoked_at


def test_an_invocation_may_end_by_itself_once_the_run_stops():
    invocation = Invocation(timeout=60, seconds=1)
    invocation.process.send_signal(signal.SIGTERM)
    output, _, _ = invocation.end()
    assert output == "{'ended': True} True\n"


@pytest.mark.parametrize("cause", ["a signal", "the end of the supervisor"])
def test_an_invocation_that_does_not_end_by_itself_fails(cause: str):
    invocation = Invocation(timeout=60, seconds=60)
    if cause == "a signal":
        invocation.process.send_signal(signal.SIGTERM)
    else:
        os.close(invocation.keep)
    output, _, seconds = invocation.end()
    assert output == "failed: the run stops\n"
    assert seconds == pytest.approx(DRAIN_SECONDS, abs=1)


def test_an_invocation_beyond_its_timeout_ends_its_process():
    output, errors, seconds = Invocation(timeout=1, seconds=60).end()
    assert (output, errors) == ("", "F timed out after 1 s\n")
    assert seconds == pytest.approx(1, abs=0.9)


def test_the_remaining_time_counts_down_from_the_templates_timeout():
    context = LambdaContext("F", 128, timeout_seconds=300, region="us-east-1", started_at=time.monotonic() - 100)
    assert context.get_remaining_time_in_millis() == pytest.approx(200_000, abs=1000)
    late = LambdaContext("F", 128, timeout_seconds=300, region="us-east-1", started_at=time.monotonic() - 400)
    assert late.get_remaining_time_in_millis() == 0
