"""The custom resource of a new stack waits for resources that aren't ready, as long as it may and no longer."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from actions_cache.domain.errors import TryAgain
from actions_cache.ports import Unavailable
from dev.local.template import Template
from functions.rotate import cloudformation
from functions.rotate.cloudformation import RESPONSE_MARGIN_SECONDS, RETRY_SECONDS, run_and_respond
from tests.unit.rotate.response_url import response_url
from tests.unit.rotate.test_cloudformation import event

NOT_READY = Unavailable(
    "An error occurred (ResourceNotFoundException) when calling the DescribeKeyValueStore operation"
)
DENIED = Unavailable("An error occurred (AccessDeniedException) when calling the GetSecretValue operation")
CONFLICT = TryAgain("too many at once tell the edge the signing secrets")


@dataclass
class Invocation:
    """Simulates the function's time, which passes with each wait and each attempt."""

    seconds: float
    now: float = 0.0
    waits: list[float] = field(default_factory=list)

    def get_remaining_time_in_millis(self) -> int:
        return int((self.seconds - self.now) * 1000)

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def attempt(self, error: Exception, *, ready_at: float, takes: float = 0.5) -> Callable[[], None]:
        def do() -> None:
            began = self.now
            self.now += takes
            if began < ready_at:
                raise error

        return do


@pytest.fixture
def invocation(template: Template, monkeypatch: pytest.MonkeyPatch) -> Invocation:
    invocation = Invocation(template.functions["RotateFunction"]["Timeout"])
    monkeypatch.setattr(time, "sleep", invocation.sleep)
    return invocation


def response_of(invocation: Invocation, do: Callable[[], None]) -> dict[str, Any]:
    """Return the response to CloudFormation."""
    with response_url() as url:
        run_and_respond(event("create", url), cast("Any", invocation), do)
    return url.answer


@pytest.mark.parametrize(
    ("error", "ready_at"), [(NOT_READY, 20), (DENIED, 8), (CONFLICT, 8)], ids=["store", "role", "conflict"]
)
def test_unready_resource_is_awaited(invocation: Invocation, error: Exception, ready_at: float) -> None:
    answer = response_of(invocation, invocation.attempt(error, ready_at=ready_at))
    assert answer["Status"] == "SUCCESS"
    assert ready_at < invocation.now < ready_at + RETRY_SECONDS + 1
    assert set(invocation.waits) == {RETRY_SECONDS}
    invocation.waits.clear()
    answer = response_of(invocation, invocation.attempt(ValueError("no keyring"), ready_at=1e9))
    assert (answer["Status"], invocation.waits) == ("FAILED", []), "a permanent error is reported at once"


@pytest.mark.parametrize("takes", [0.1, 0.5, 5, 16])
def test_waiting_ends_before_timeout(invocation: Invocation, takes: float) -> None:
    answer = response_of(invocation, invocation.attempt(NOT_READY, ready_at=1e9, takes=takes))
    assert (answer["Status"], answer["Reason"]) == (
        "FAILED",
        f"the edge couldn't be told the signing secret: {NOT_READY}",
    )
    # The last attempt began in time. If it takes too long, the timer responds first.
    assert invocation.now - takes < invocation.seconds - RESPONSE_MARGIN_SECONDS
    assert invocation.now + RETRY_SECONDS >= invocation.seconds - RESPONSE_MARGIN_SECONDS, "the time is used"


def test_timeout_reason_names_last_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second attempt hangs until CloudFormation has its response."""
    monkeypatch.setattr(cloudformation, "RETRY_SECONDS", 0.1)
    attempts: list[int] = []

    def do() -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise DENIED
        responded.wait(10)

    responded = threading.Event()
    with response_url() as url:
        threading.Timer(1, responded.set).start()
        context = cast("Any", Invocation(RESPONSE_MARGIN_SECONDS + 0.4))
        assert run_and_respond(event("create", url), context, do) == {"status": "FAILED"}
    assert url.answer["Reason"] == f"the edge couldn't be told the signing secret in 0 s: {DENIED}"
