import json
from email.utils import formatdate

import pytest

from actions_cache_cli.doctor.finding import OK, TROUBLE, UNKNOWN, WARNING
from actions_cache_cli.doctor.server import explain, judge_clock, judge_dialect, judge_health, judge_others
from actions_cache_cli.doctor.wire import NoAnswer, Reply, Wire

NOW = 1_800_000_000.0


def reply(status: int, body: object = b"", asked_at: float = NOW, answered_at: float = NOW, **headers: str) -> Reply:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, headers, content, asked_at, answered_at)


def dated(server: float, asked_at: float = NOW, answered_at: float = NOW) -> Reply:
    return reply(200, asked_at=asked_at, answered_at=answered_at, date=formatdate(server, usegmt=True))


@pytest.mark.parametrize(
    ("answer", "state", "said"),
    [
        (reply(200, {"ok": True, "faults": {}}), OK, "this project's"),
        (reply(503, {"ok": False, "faults": {"bucket": "AccessDenied"}}), TROUBLE, 'bucket: "AccessDenied"'),
        (reply(200, {"ok": True}), TROUBLE, "isn't this project's server"),
        (reply(404, {"code": "bad_route", "msg": "no"}), TROUBLE, "404 bad_route"),
        (reply(200, b"<html><title>Sign in</title>"), TROUBLE, "a proxy or sign-in page"),
        (reply(200, [1]), TROUBLE, "isn't this project's server"),
        (reply(200, b"[" * 100_000), TROUBLE, "isn't this project's server"),
    ],
)
def test_health_names_the_part_that_is_unwell_or_who_answers_instead(answer: Reply, state: str, said: str) -> None:
    finding = judge_health(answer)
    assert (finding.state, said in finding.detail) == (state, True), finding


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (reply(401, {"code": "unauthenticated", "msg": "no token"}), OK),
        (reply(401, {"msg": "invalid token"}), TROUBLE),
        (reply(200, {"ok": False}), TROUBLE),
        (reply(401, b"<html>"), TROUBLE),
        (reply(302, b"", location="https://login.example.com/"), TROUBLE),
    ],
)
def test_only_the_cache_services_own_refusal_proves_it(answer: Reply, state: str) -> None:
    assert judge_dialect(answer).state == state


@pytest.mark.parametrize(
    ("answer", "state", "said"),
    [
        (dated(NOW), OK, ""),
        (dated(NOW + 30), OK, ""),
        (dated(NOW + 31), TROUBLE, "31 s behind"),
        # The Date has whole seconds, so the server's clock may be almost one further.
        (dated(NOW - 31), OK, ""),
        (dated(NOW - 32), TROUBLE, "31 s ahead of"),
        # A slow way is no wrong clock.
        (dated(NOW + 60, asked_at=NOW, answered_at=NOW + 90), OK, ""),
        (reply(200), UNKNOWN, "no Date"),
        (reply(200, date="yesterday"), UNKNOWN, "no Date"),
    ],
)
def test_a_clock_is_wrong_beyond_the_margin_that_the_server_allows(answer: Reply, state: str, said: str) -> None:
    finding = judge_clock(answer)
    assert (finding.state, said in finding.detail) == (state, True), finding


@pytest.mark.parametrize(
    ("answer", "state", "said"),
    [
        (reply(200, {"artifacts": []}), OK, "passed on"),
        (reply(400, {"code": "malformed", "msg": "x"}), OK, "passed on"),
        (reply(403, b"denied"), OK, "passed on"),
        (reply(401, {"code": "unauthenticated", "msg": "the token isn't good"}), UNKNOWN, "the token is refused"),
        (reply(404, {"code": "bad_route", "msg": "x"}), WARNING, "upload-artifact and job summaries don't"),
        (reply(502, {"code": "unavailable", "msg": "it doesn't answer"}), TROUBLE, "it doesn't answer"),
        (reply(502, b"<html>"), UNKNOWN, "HTML"),
        (reply(500, b""), UNKNOWN, "500"),
    ],
)
def test_artifacts_work_where_their_service_answers(answer: Reply, state: str, said: str) -> None:
    finding = judge_others(answer, with_token=True)
    assert (finding.state, said in finding.detail) == (state, True), finding


def test_without_a_token_nothing_is_passed_on_that_could_be_seen() -> None:
    finding = judge_others(reply(401, {"code": "unauthenticated", "msg": "no token"}), with_token=False)
    assert (finding.state, "a job's token tells more" in finding.detail) == (UNKNOWN, True)


@pytest.mark.parametrize(
    "date", ["", "yesterday", f"Mon, {'9' * 14} Jan 2026 00:00:00 GMT", "1 Jan 2026 +99999999999999"]
)
def test_date_that_is_none_says_nothing_of_the_clock(date: str) -> None:
    assert judge_clock(reply(200, date=date)).state == UNKNOWN


@pytest.mark.parametrize(
    "proxy", ["http://[", "http://h:x", "http://h:99999", f"http://{'a' * 64}.example", "http://a..b"]
)
def test_proxy_that_is_none_is_said_so(proxy: str) -> None:
    with pytest.raises(NoAnswer, match="can't be asked by this check"):
        Wire({"https_proxy": proxy}).ask("GET", "https://cache.example/")


def test_an_answer_is_explained_in_one_printable_line() -> None:
    hostile = explain(reply(200, b"\n::set-env name=X::y\x1b[2J" * 100))
    assert "\n" not in judge_health(reply(200, b"\n::stop-commands::\x1b[2J")).detail
    assert "\x1b" not in hostile
    assert len(hostile) < 200


def test_cloudfronts_own_page_is_told_from_the_servers() -> None:
    page = reply(403, b"<html>The request could not be satisfied", server="CloudFront")
    assert "CloudFront's own" in explain(page)
    blocked = reply(403, b"<html>The request could not be satisfied. Request blocked.", server="CloudFront")
    assert "web ACL" in explain(blocked)
