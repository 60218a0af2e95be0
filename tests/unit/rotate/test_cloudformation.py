"""CloudFormation gets one response for a custom resource in every case, with the reason of a failure."""

import logging
import socket
import threading
import time
from contextlib import suppress
from typing import Any

import pytest

from dev.clients.driver import fail
from dev.local.lambda_runtime import LambdaContext
from dev.local.template import Template
from functions.rotate.cloudformation import RESPONSE_MARGIN_SECONDS, CallbackFailed, run_and_respond
from tests.support.lambda_events import load
from tests.unit.rotate.response_url import SIGNED, ResponseUrl, response_url

EVENTS = ("create", "update", "delete")


def event(name: str, url: ResponseUrl | str) -> dict[str, Any]:
    return load(f"cloudformation-{name}") | {"ResponseURL": url if isinstance(url, str) else url.url}


def context(seconds: float = 60) -> Any:
    return LambdaContext("RotateFunction", 256, seconds, "eu-central-1")


def do_nothing() -> None:
    """Succeed at once."""


@pytest.mark.parametrize("name", EVENTS)
def test_events_match_template_resource(template: Template, name: str):
    sent = event(name, "")
    declared = template.body["Resources"][sent["LogicalResourceId"]]
    assert sent["ResourceType"] == declared["Type"]
    assert set(sent["ResourceProperties"]) == set(declared["Properties"])


@pytest.mark.parametrize("name", EVENTS)
def test_success_response_carries_request_ids(name: str):
    """The work runs in the invocation's thread: tests/unit/flows/test_rotating.py shows what another would break."""
    worked_in: list[threading.Thread] = []
    with response_url() as url:
        sent = event(name, url) | ({} if name == "create" else {"PhysicalResourceId": "id of an old version"})
        done = run_and_respond(sent, context(), lambda: worked_in.append(threading.current_thread()))
    assert done == {"status": "SUCCESS"}
    assert worked_in == ([] if name == "delete" else [threading.current_thread()])
    assert url.answer == {
        "Status": "SUCCESS",
        "Reason": "",
        # CloudFormation would delete the former resource if the id changed.
        "PhysicalResourceId": sent.get("PhysicalResourceId", "EdgeKnowsSecret"),
        **{id_: sent[id_] for id_ in ("StackId", "RequestId", "LogicalResourceId")},
    }
    [(method, headers, _)] = url.requests
    assert (method, headers["content-type"]) == ("PUT", "")


@pytest.mark.parametrize("name", ["create", "update"])
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("no such store"), "the edge couldn't be told the signing secret: no such store"),
        (KeyError(), "the edge couldn't be told the signing secret: KeyError"),
        (RuntimeError("\N{EURO SIGN}" * 5000), None),
    ],
    ids=["text", "no text", "longest"],
)
def test_failure_response_has_reason(name: str, error: Exception, reason: str | None):
    with response_url() as url:
        assert run_and_respond(event(name, url), context(), lambda: fail(error)) == {"status": "FAILED"}
    assert url.answer["Status"] == "FAILED"
    assert reason is None or url.answer["Reason"] == reason
    [(_, _, body)] = url.requests
    assert len(body) <= 4096


@pytest.mark.parametrize("refused", [[503], [500, 503], [403] * 3], ids=str)
def test_refused_response_is_sent_again(refused: list[int], caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    with response_url(refused) as url:
        if len(refused) < 3:
            assert run_and_respond(event("create", url), context(), do_nothing) == {"status": "SUCCESS"}
            assert len(url.requests) == len(refused) + 1
        else:
            with pytest.raises(CallbackFailed, match="status 403") as raised:
                run_and_respond(event("create", url), context(), do_nothing)
            assert len(url.requests) == 3
            assert "Signature" not in str(raised.value)


def test_unreachable_url_error_hides_url(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    with pytest.raises(CallbackFailed, match="wasn't reached: NewConnectionError") as raised:
        run_and_respond(event("create", f"http://127.0.0.1:9/stack{SIGNED}"), context(), do_nothing)
    assert "Signature" not in str(raised.value) + caplog.text
    assert raised.value.__suppress_context__
    assert raised.value.__cause__ is None


def test_slow_work_is_reported_once_before_timeout():
    responded_at: list[float] = []

    def slow() -> None:
        deadline = time.monotonic() + 5
        while not url.requests and time.monotonic() < deadline:
            time.sleep(0.01)
        responded_at.append(time.monotonic())

    with response_url() as url:
        seconds = RESPONSE_MARGIN_SECONDS + 0.3
        ends_at = time.monotonic() + seconds
        assert run_and_respond(event("create", url), context(seconds), slow) == {"status": "FAILED"}
    assert url.answer["Reason"] == "the edge couldn't be told the signing secret in 0 s"
    assert ends_at - responded_at[0] > RESPONSE_MARGIN_SECONDS - 1


@pytest.mark.parametrize("refused", [[], [403] * 3], ids=["taken", "refused"])
def test_timer_sends_no_second_response(refused: list[int]):
    with response_url(refused) as url:
        with suppress(CallbackFailed):
            run_and_respond(event("create", url), context(RESPONSE_MARGIN_SECONDS + 2), do_nothing)
        time.sleep(2.2)
    assert {answer["Status"] for answer in url.answers} == {"SUCCESS"}


@pytest.mark.slow
def test_final_response_leaves_time_for_retries():
    """Each attempt takes its whole time if nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(CallbackFailed, match="ReadTimeoutError"):
            run_and_respond(event("create", f"http://127.0.0.1:{silent.getsockname()[1]}/"), context(), do_nothing)
    assert time.monotonic() - began < RESPONSE_MARGIN_SECONDS - 0.5
