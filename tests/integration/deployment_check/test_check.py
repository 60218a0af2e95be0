"""The check of a good server, the local run with real emulators, and of servers that give no answer."""

import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from actions_cache_cli.deployment_check.__main__ import CHECKS, TRAFFIC_BYTES, main
from actions_cache_cli.deployment_check.check import LIMITS, Check, Client, Context, Outcome, run
from actions_cache_cli.deployment_check.reach import HOW_TO_SAVE
from actions_cache_cli.deployment_check.stack import Stack
from actions_cache_cli.doctor.address import read_address
from dev.clients.local_server import free_port
from dev.local.template import ROOT
from tests.integration.deployment_check.conftest import Verify, results
from tests.integration.deployment_check.proxy import Answer, Request, made, spoiling_proxy
from tests.support.private_ca import self_signed
from tests.support.sockets import listening

MOST_TRAFFIC_BYTES = 60_000_000

NEEDS_STACK = {
    "the stack can be read",
    "the account has room for it",
    "it is said whose jobs may come in",
    "refused jobs are known",
    "an object comes back through the edge, by x-ms-range",
    "a fault in mid-stream breaks the connection",
}
ONLY_WITHOUT_TOKEN = "what this check put beside entries is deleted"


def test_good_server_fails_nothing(server: str) -> None:
    context = Context(read_address(f"{server}/"), None)
    seen = results(context)
    assert [result for result in seen if result.outcome is Outcome.FAIL] == []
    assert {result.title for result in seen if result.outcome is Outcome.SKIP} == {*NEEDS_STACK, ONLY_WITHOUT_TOKEN}
    assert context.client.sent_bytes + context.client.received_bytes <= TRAFFIC_BYTES < MOST_TRAFFIC_BYTES


def test_stack_enables_every_check(server: str, stack: Stack, verify: Verify) -> None:
    seen = verify(server, stack=stack)
    assert {title: str(result.detail) for title, result in seen.items() if result.outcome is not Outcome.OK} == {
        ONLY_WITHOUT_TOKEN: "nothing of that kind was put; entries expire by themselves"
    }
    assert seen["a fault in mid-stream breaks the connection"].detail.startswith("it broke after")
    assert "an expired URL" in seen["altered and expired URLs are refused, in Azure's XML"].detail
    assert seen["it is said whose jobs may come in"].detail.endswith("every job on github.com may store at your cost")
    assert "no job was refused" in seen["refused jobs are known"].detail
    assert "left no trace" in seen["hostile headers change nothing"].detail


def test_each_check_prints_one_line(server: str) -> None:
    command = [sys.executable, "-m", "actions_cache_cli.deployment_check", "--url", server]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    first, *lines, summary = [line for line in ran.stdout.splitlines() if line]
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "MB cross the network" in first
    assert len(lines) == len(CHECKS)
    assert all(line.startswith(("ok    ", "skip  ")) for line in lines)
    assert summary.startswith("nothing failed: ")


def refuses_unsigned_tokens(request: Request, ask: Callable[[], Answer]) -> Answer:
    if "CacheService/" in request.path:
        return made(401, '{"code":"unauthenticated","msg":"the token isn\'t good"}', Content_Type="application/json")
    return ask()


def test_missing_token_skips_what_needs_a_save(server: str, verify: Verify) -> None:
    with spoiling_proxy(server, refuses_unsigned_tokens) as url:
        seen = verify(url)
    assert seen["signatures of tokens are verified"].outcome is Outcome.OK
    assert seen["table, bucket and queue answer"].outcome is Outcome.OK
    assert seen["the clocks agree"].outcome is Outcome.OK
    assert seen["a block over 10 MB passes"].detail == HOW_TO_SAVE
    assert seen["it restores from S3"].detail == HOW_TO_SAVE


def keeps_strangers_out(request: Request, ask: Callable[[], Answer]) -> Answer:
    if "CacheService/" in request.path:
        said = '{"code":"permission_denied","msg":"cache read denied: this cache isn\'t for jobs of repository 1"}'
        return made(403, said, Content_Type="application/json")
    return ask()


def test_token_claims_are_no_verification(server: str, verify: Verify) -> None:
    """A server that checks TOKEN_CLAIMS for an unsigned token didn't verify it."""
    with spoiling_proxy(server, keeps_strangers_out) as url:
        seen = verify(url, "signatures of tokens are verified", "a block over 10 MB passes")
    verified = seen["signatures of tokens are verified"]
    assert (verified.outcome, verified.detail[:8]) == (Outcome.OK, "not here")
    assert seen["a block over 10 MB passes"].outcome is Outcome.SKIP


def test_stack_without_a_token_checks_the_edge(server: str, stack: Stack, verify: Verify) -> None:
    before = count_objects(stack)
    with spoiling_proxy(server, refuses_unsigned_tokens) as url:
        seen = verify(url, stack=stack)
    for title in (
        "a block without a content hash reaches S3",
        "its answer is 201, with x-ms-request-id",
        "the signature fits the rewritten path",
        "an object comes back through the edge, by x-ms-range",
        "a block over 10 MB passes",
        "altered and expired URLs are refused, in Azure's XML",
        "hostile headers change nothing",
    ):
        assert seen[title].outcome is Outcome.OK, seen[title]
    assert seen["a small entry is saved"].detail == HOW_TO_SAVE
    assert seen[ONLY_WITHOUT_TOKEN].detail == "5 objects"
    assert count_objects(stack) == before


def count_objects(stack: Stack) -> int:
    pages = stack.s3.get_paginator("list_objects_v2").paginate(Bucket=stack.bucket)
    return sum(page["KeyCount"] for page in pages)


def test_json_has_each_check_with_its_outcome(
    server: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actions_cache_cli.deployment_check.__main__.CHECKS", CHECKS[:5])
    assert main(["--url", server, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["url"], document["failed"]) == (server, 0)
    assert [row["title"] for row in document["checks"]] == [check.title for check in CHECKS[:5]]
    assert {row["outcome"] for row in document["checks"]} == {"ok"}


REACH = (
    "the host's name has an address",
    "the host takes connections, with a good certificate",
    "table, bucket and queue answer",
)


def test_closed_port_fails_once(verify: Verify) -> None:
    seen = verify(f"http://127.0.0.1:{free_port()}")
    failed = [result.title for result in seen.values() if result.outcome is Outcome.FAIL]
    assert failed == [REACH[1]]
    assert "the server isn't running" in seen[REACH[1]].detail
    assert seen[REACH[2]].detail == "needs a host that can be reached"


def test_unknown_host_fails_once(verify: Verify) -> None:
    seen = verify("https://no-such-host.invalid")
    assert [result.title for result in seen.values() if result.outcome is Outcome.FAIL] == [REACH[0]]
    assert "DNS record" in seen[REACH[0]].detail


def test_plain_http_behind_https_is_recognized(verify: Verify, server: str) -> None:
    seen = verify(server.replace("http:", "https:"), *REACH)
    assert "speaks no TLS" in seen[REACH[1]].detail


def test_self_signed_certificate_fails(verify: Verify, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))
    with listening(lambda plain: context.wrap_socket(plain, server_side=True).close()) as port:
        seen = verify(f"https://localhost:{port}", *REACH)
    assert "a proxy that reads TLS" in seen[REACH[1]].detail


def test_silent_server_times_out(verify: Verify) -> None:
    client = Client(replace(LIMITS, silence_seconds=0.3))
    with listening(lambda connection: void(connection.recv, forever=True)) as port:
        seen = verify(f"http://127.0.0.1:{port}", *REACH, client=client)
    assert "gave no answer in time, 0.3 s" in seen[REACH[2]].detail


def void(read: Callable[[int], bytes], *, forever: bool) -> None:
    while read(65536) and forever:
        pass


def test_endless_answer_times_out(verify: Verify) -> None:
    client = Client(replace(LIMITS, transfer_seconds=0.3))

    def drip(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            connection.sendall(b"x" * 1000)
            threading.Event().wait(0.05)

    with listening(drip) as port:
        seen = verify(f"http://127.0.0.1:{port}", *REACH, client=client)
    assert "didn't end" in seen[REACH[2]].detail


def test_broken_connection_is_explained(verify: Verify) -> None:
    with listening(lambda connection: void(connection.recv, forever=False)) as port:
        seen = verify(f"http://127.0.0.1:{port}", *REACH)
    assert "broke before an answer came" in seen[REACH[2]].detail


def test_error_in_a_check_is_one_failed_line() -> None:
    def look(_: Context) -> str:
        raise ZeroDivisionError("a\nb")

    result = run(Check("it divides", look), Context(read_address("http://127.0.0.1"), None))
    assert result.outcome is Outcome.FAIL
    assert "this check itself failed" in result.detail
    assert "\n" not in result.detail


def test_exit_code_tells_failures_from_bad_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--url", f"http://127.0.0.1:{free_port()}"]) == 1
    assert "something is wrong" in capsys.readouterr().out
    assert main(["--url", "not a url"]) == 2
    assert "give it as https://HOST/" in capsys.readouterr().out


def test_closed_pipe_shows_no_stack_trace() -> None:
    command = (
        f"'{sys.executable}' -m actions_cache_cli.deployment_check --url http://127.0.0.1:{free_port()} | head -n 1"
    )
    ran = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.stderr == ""
