import json
import select
import socket
from email.utils import formatdate

import pytest

from actions_cache_cli.doctor.address import NoAnswer, NotAUrl, read_address
from actions_cache_cli.doctor.job import judge_url
from actions_cache_cli.doctor.probe import Client, Limits, Reply
from actions_cache_cli.doctor.report import OK, TROUBLE, UNKNOWN, WARNING
from actions_cache_cli.doctor.server import explain, judge_clock, judge_dialect, judge_health, judge_others, judge_sums
from tests.support.sockets import listening

NOW = 1_800_000_000.0


def reply(status: int, body: object = b"", asked_at: float = NOW, answered_at: float = NOW, **headers: str) -> Reply:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, headers, content, asked_at=asked_at, answered_at=answered_at)


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
def test_health_names_the_failing_part_or_the_sender(answer: Reply, state: str, said: str) -> None:
    finding = judge_health(answer)
    assert (finding.state, said in finding.text) == (state, True), finding


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
def test_only_the_services_own_401_is_ok(answer: Reply, state: str) -> None:
    assert judge_dialect(answer).state == state


ODD_DATES = ["", "yesterday", f"Mon, {'9' * 14} Jan 2026 00:00:00 GMT", "1 Jan 2026 +99999999999999"]


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
        *((answer, UNKNOWN, "no Date") for answer in (reply(200), *(reply(200, date=date) for date in ODD_DATES))),
    ],
)
def test_clock_beyond_the_margin_is_trouble(answer: Reply, state: str, said: str) -> None:
    finding = judge_clock(answer)
    assert (finding.state, said in finding.text) == (state, True), finding


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
def test_artifact_service_is_judged_by_its_answer(answer: Reply, state: str, said: str) -> None:
    finding = judge_others(answer, with_token=True)
    assert (finding.state, said in finding.text) == (state, True), finding
    if answer.status == 401:
        finding = judge_others(answer, with_token=False)
        assert (finding.state, "a job's token tells more" in finding.text) == (UNKNOWN, True)


@pytest.mark.parametrize(
    "proxy", ["http://[", "http://h:x", "http://h:99999", f"http://{'a' * 64}.example", "http://a..b"]
)
def test_invalid_proxy_is_reported(proxy: str) -> None:
    with pytest.raises(NoAnswer, match="can't be asked by this check"):
        Client(Limits(1, 1, 1), {"https_proxy": proxy}).send("GET", "https://cache.example/")


def test_answer_is_explained_in_one_printable_line() -> None:
    hostile = explain(reply(200, b"\n::set-env name=X::y\x1b[2J" * 100))
    assert "\n" not in judge_health(reply(200, b"\n::stop-commands::\x1b[2J")).detail
    assert "\x1b" not in hostile
    assert len(hostile) < 200
    page = b"<html>The request could not be satisfied"
    assert "CloudFront's own" in explain(reply(403, page, server="CloudFront"))
    assert "web ACL" in explain(reply(403, page + b". Request blocked.", server="CloudFront"))


def test_url_at_the_root_with_a_slash_is_ok() -> None:
    assert judge_url(read_address("https://cache.example.com/")).state == OK
    assert judge_url(read_address("http://127.0.0.1:3000/")).state == OK
    detail = judge_url(read_address("https://cache.example.com")).text
    assert "cache.example.com_apis" in detail
    assert "to do: write https://cache.example.com/ " in detail


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://cache.example.com", "no slash at its end"),
        ("https://cache.example.com/cache/", "the path /cache/, which @actions/cache drops"),
        ("http://cache.example.com/", "isn't https"),
        ("https://x1.execute-api.eu-west-1.amazonaws.com/prod/", "the API's own URL"),
        ("https://cache.example.com/?token=1", "a query or fragment"),
        ("https://me:secret@cache.example.com/", "a user name or password"),
    ],
)
def test_misleading_url_is_trouble(url: str, said: str) -> None:
    finding = judge_url(read_address(url))
    assert finding.state == TROUBLE
    assert said in finding.text
    assert "secret" not in finding.text


INVALID = ["https://a..b/", f"https://{'a' * 64}.example/", "cache.example.com", "ftp://cache.example.com/"]


@pytest.mark.parametrize("text", [*INVALID, "https://", "https://[::1", ""])
def test_invalid_url_is_refused(text: str) -> None:
    with pytest.raises(NotAUrl, match="isn't a URL"):
        read_address(text)


def test_equivalent_urls_have_one_base() -> None:
    urls = ("https://C.example.com", "https://c.example.com:443/", "https://c.example.com/x")
    assert {read_address(url).base for url in urls} == {"https://c.example.com"}
    assert read_address("http://[::1]:3000/").base == "http://[::1]:3000"
    assert read_address("https://results-receiver.actions.githubusercontent.com/").is_githubs
    assert read_address("https://results.octo.ghe.com/").is_githubs
    assert not read_address("https://githubusercontent.com.example.org/").is_githubs


def test_unusable_url_gives_no_answer() -> None:
    with listening(lambda connection: connection.close()) as port, pytest.raises(NoAnswer, match="broke before"):
        Client(Limits(1, 1, 1)).send("GET", f"http://127.0.0.1:{port}/\N{SNOWMAN}")


def test_connection_is_used_again_until_the_server_closes_it() -> None:
    peers = []

    def serve(connection: socket.socket) -> None:
        peers.append(connection.getpeername())
        for _ in range(2):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with listening(serve) as port:
        client = Client(Limits(5, 5, 100))
        replies = [client.ask("GET", f"http://127.0.0.1:{port}/") for _ in range(2)]
        [[idle]] = client._idle.values()
        assert select.select([idle.sock], [], [], 5)[0], "the server has closed it"
        replies += [client.ask("GET", f"http://127.0.0.1:{port}/") for _ in range(2)]
    assert [reply.body for reply in replies] == [b"ok"] * 4
    assert len(peers) == 2


@pytest.mark.parametrize(
    ("status", "served", "state"),
    [(200, "ab  hook.cjs\n", OK), (200, "cd  hook.cjs\n", WARNING), (200, "", WARNING), (404, "ab", UNKNOWN)],
)
def test_hooks_age_is_told_by_its_sums(status: int, served: str, state: str) -> None:
    found = judge_sums({"hook.cjs": "ab"}, {"hook.cjs": reply(status, served.encode())})
    assert found.state == state
    assert "hook.cjs" in found.text
