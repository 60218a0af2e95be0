"""A custom resource's answer reaches CloudFormation in every case, once, and says what was wrong."""

import logging
import socket
import threading
import time
from contextlib import suppress
from typing import Any

import pytest

from dev.local.lambda_context import LambdaContext
from dev.local.template import Template
from functions.rotate.cloudformation import RESPONSE_MARGIN_SECONDS, CallbackFailed, run_and_respond
from tests.support.events import load
from tests.support.journey import fail
from tests.unit.rotate.response_url import SIGNED, ResponseUrl, response_url

EVENTS = ("create", "update", "delete")


def event(name: str, url: ResponseUrl | str) -> dict[str, Any]:
    return load(f"cloudformation-{name}") | {"ResponseURL": url if isinstance(url, str) else url.url}


def context(seconds: float = 60) -> Any:
    return LambdaContext("RotateFunction", 256, seconds, "eu-central-1")


def nothing() -> None:
    pass


@pytest.mark.parametrize("name", EVENTS)
def test_the_events_are_the_ones_that_the_template_asks_for(template: Template, name: str):
    asked = event(name, "")
    declared = template.body["Resources"][asked["LogicalResourceId"]]
    assert asked["ResourceType"] == declared["Type"]
    assert set(asked["ResourceProperties"]) == set(declared["Properties"])


@pytest.mark.parametrize("name", EVENTS)
def test_success_is_told_with_the_requests_own_ids(name: str):
    with response_url() as url:
        asked = event(name, url)
        assert run_and_respond(asked, context(), nothing) == {"status": "SUCCESS"}
    assert url.answer == {
        "Status": "SUCCESS",
        "Reason": "",
        "PhysicalResourceId": "EdgeKnowsSecret",
        "StackId": asked["StackId"],
        "RequestId": asked["RequestId"],
        "LogicalResourceId": asked["LogicalResourceId"],
    }


def test_an_update_or_a_delete_is_answered_for_the_resource_that_there_is():
    """Another id would have CloudFormation delete the one before."""
    for name in ("update", "delete"):
        with response_url() as url:
            run_and_respond(event(name, url) | {"PhysicalResourceId": "made by an earlier version"}, context(), nothing)
        assert url.answer["PhysicalResourceId"] == "made by an earlier version"


def test_a_delete_does_nothing():
    with response_url() as url:
        run_and_respond(event("delete", url), context(), lambda: fail(RuntimeError("done all the same")))
    assert url.answer["Status"] == "SUCCESS"


@pytest.mark.parametrize("name", ["create", "update"])
def test_a_failure_is_told_with_its_reason(name: str):
    with response_url() as url:
        assert run_and_respond(event(name, url), context(), lambda: fail(RuntimeError("no such store"))) == {
            "status": "FAILED"
        }
    assert (url.answer["Status"], url.answer["Reason"]) == (
        "FAILED",
        "the edge couldn't be told the signing secret: no such store",
    )


def test_an_error_without_words_is_told_by_its_name():
    with response_url() as url:
        run_and_respond(event("create", url), context(), lambda: fail(KeyError()))
    assert url.answer["Reason"].endswith(": KeyError")


def test_a_reason_of_any_length_fits_into_the_4096_bytes_of_an_answer():
    with response_url() as url:
        run_and_respond(event("create", url), context(), lambda: fail(RuntimeError("\N{EURO SIGN}" * 5000)))
    [(_, _, body)] = url.requests
    assert len(body) <= 4096


def test_the_answer_is_one_put_without_a_content_type_as_its_url_is_signed():
    with response_url() as url:
        run_and_respond(event("create", url), context(), nothing)
    [(method, headers, _)] = url.requests
    assert (method, headers["content-type"]) == ("PUT", "")


@pytest.mark.parametrize("refused", [[503], [500, 503]], ids=str)
def test_an_answer_that_was_not_taken_is_given_again(refused: list[int]):
    with response_url(refused) as url:
        assert run_and_respond(event("create", url), context(), nothing) == {"status": "SUCCESS"}
    assert len(url.requests) == len(refused) + 1


def test_an_answer_that_is_refused_for_good_is_an_error_without_the_presigned_url(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    with response_url([403] * 3) as url, pytest.raises(CallbackFailed, match="status 403") as raised:
        run_and_respond(event("create", url), context(), nothing)
    assert len(url.requests) == 3
    assert "Signature" not in str(raised.value)


def test_a_url_that_nobody_serves_is_an_error_without_the_url_in_it_or_in_warnings(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    with pytest.raises(CallbackFailed, match="wasn't reached: NewConnectionError") as raised:
        run_and_respond(event("create", f"http://127.0.0.1:9/stack{SIGNED}"), context(), nothing)
    assert "Signature" not in str(raised.value) + caplog.text
    assert raised.value.__suppress_context__
    assert raised.value.__cause__ is None


def test_what_takes_too_long_is_told_as_a_failure_before_the_timeout_and_only_once():
    told_at: list[float] = []

    def slow() -> None:
        deadline = time.monotonic() + 5
        while not url.requests and time.monotonic() < deadline:
            time.sleep(0.01)
        told_at.append(time.monotonic())

    with response_url() as url:
        seconds = RESPONSE_MARGIN_SECONDS + 0.3
        ends_at = time.monotonic() + seconds
        assert run_and_respond(event("create", url), context(seconds), slow) == {"status": "FAILED"}
    assert url.answer["Reason"] == "the edge couldn't be told the signing secret in 0 s"
    assert ends_at - told_at[0] > RESPONSE_MARGIN_SECONDS - 1


def test_the_work_goes_on_in_the_invocation_itself_so_that_nothing_is_left_behind_to_be_thawed():
    """tests/unit/flows/test_rotating.py has what would come of it."""
    worked_in: list[threading.Thread] = []
    with response_url() as url:
        run_and_respond(event("create", url), context(), lambda: worked_in.append(threading.current_thread()))
    assert worked_in == [threading.current_thread()]
    assert url.answer["Status"] == "SUCCESS"


@pytest.mark.parametrize("refused", [[], [403] * 3], ids=["told", "untold"])
def test_no_timer_is_left_that_would_tell_something_else_later(refused: list[int]):
    with response_url(refused) as url:
        with suppress(CallbackFailed):
            run_and_respond(event("create", url), context(RESPONSE_MARGIN_SECONDS + 2), nothing)
        time.sleep(2.2)
    assert {answer["Status"] for answer in url.answers} == {"SUCCESS"}


def test_the_last_words_leave_time_for_every_attempt_to_say_them():
    """Nobody answers: each attempt takes its whole time."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(CallbackFailed, match="ReadTimeoutError"):
            run_and_respond(event("create", f"http://127.0.0.1:{silent.getsockname()[1]}/"), context(), nothing)
    assert time.monotonic() - began < RESPONSE_MARGIN_SECONDS - 0.5
