"""The check of a good server, the local run with real emulators, and of servers that give no answer."""

import json
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from actions_cache_cli.deployment_check.__main__ import CHECKS, TRAFFIC_BYTES, main
from actions_cache_cli.deployment_check.check import LIMITS, Check, Client, Context, Outcome, Result, run
from actions_cache_cli.deployment_check.reach import HOW_TO_SAVE
from actions_cache_cli.deployment_check.stack import Stack
from actions_cache_cli.doctor.address import read_address
from dev.clients.local_server import free_port
from dev.local.template import ROOT
from tests.integration.deployment_check.conftest import Verify, results
from tests.integration.deployment_check.proxy import Answer, Request, made, spoiling_proxy
from tests.support.private_ca import self_signed
from tests.support.sockets import listening

MOST_TRAFFIC_BYTES = 100_000_000

VERIFIED, HEALTHY, LARGE = (
    "signatures of tokens are verified",
    "table, bucket and queue answer",
    "a block over 10 MB passes",
)
NEEDS_STACK = {
    "the stack can be read",
    "the account has room for it",
    "it is said whose jobs may come in",
    "refused jobs are known",
    "an object comes back through the edge, by x-ms-range",
    "a fault in mid-stream breaks the connection",
}
ONLY_WITHOUT_TOKEN = "what this check put beside entries is deleted"


def with_outcome(seen: Mapping[str, Result], outcome: Outcome) -> set[str]:
    return {title for title, result in seen.items() if result.outcome is outcome}


# ------------------------------------------------------------------ a good server


def test_good_server_fails_nothing(server: str) -> None:
    context = Context(read_address(f"{server}/"), None)
    seen = {result.title: result for result in results(context)}
    assert [result for result in seen.values() if result.outcome is Outcome.FAIL] == []
    assert with_outcome(seen, Outcome.SKIP) == {*NEEDS_STACK, ONLY_WITHOUT_TOKEN}
    assert context.client.sent_bytes + context.client.received_bytes <= TRAFFIC_BYTES < MOST_TRAFFIC_BYTES


def test_stack_enables_every_check(server: str, stack: Stack, verify: Verify) -> None:
    seen = verify(server, stack=stack)
    assert with_outcome(seen, Outcome.OK) == seen.keys() - {ONLY_WITHOUT_TOKEN}
    assert seen["a fault in mid-stream breaks the connection"].detail.startswith("it broke after")
    assert "an expired URL" in seen["altered and expired URLs are refused, in Azure's XML"].detail
    assert seen["it is said whose jobs may come in"].detail.endswith("every job on github.com may store at your cost")
    assert "no job was refused" in seen["refused jobs are known"].detail
    assert "left no trace" in seen["hostile headers change nothing"].detail
    assert re.match(r"\d+ MiB/s by 1 connection, \d+ MiB/s by 8,", seen["S3 gives ranges side by side"].detail)


def test_each_check_prints_one_line(server: str) -> None:
    command = [sys.executable, "-m", "actions_cache_cli.deployment_check", "--url", server]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    first, *lines, summary = [line for line in ran.stdout.splitlines() if line]
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "MiB cross the network" in first
    assert len(lines) == len(CHECKS)
    assert all(line.startswith(("ok    ", "skip  ")) for line in lines)
    assert summary.startswith("nothing failed: ")


def test_json_has_each_check_with_its_outcome(
    server: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actions_cache_cli.deployment_check.__main__.CHECKS", CHECKS[:5])
    assert main(["--url", server, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["url"], document["failed"]) == (server, 0)
    assert [row["title"] for row in document["checks"]] == [check.title for check in CHECKS[:5]]
    assert {row["outcome"] for row in document["checks"]} == {"ok"}


# ------------------------------------------------------------------ without a token


@contextmanager
def refusing_tokens(server: str, answer: Answer) -> Iterator[str]:
    def spoil(request: Request, ask: Callable[[], Answer]) -> Answer:
        return answer if "CacheService/" in request.path else ask()

    with spoiling_proxy(server, spoil) as url:
        yield url


UNAUTHENTICATED = made(401, '{"code":"unauthenticated","msg":"it isn\'t good"}', Content_Type="application/json")


def test_stack_without_a_token_checks_the_edge(server: str, stack: Stack, verify: Verify) -> None:
    """All else that needs a save is skipped."""
    before = count_objects(stack)
    with refusing_tokens(server, UNAUTHENTICATED) as url:
        seen, bare = verify(url, stack=stack), verify(url)
    assert {VERIFIED, HEALTHY, "the clocks agree"} <= with_outcome(bare, Outcome.OK)
    assert bare[LARGE].detail == bare["it restores from S3"].detail == HOW_TO_SAVE
    assert {
        "a block without a content hash reaches S3",
        "its answer is 201, with x-ms-request-id",
        "the signature fits the rewritten path",
        "an object comes back through the edge, by x-ms-range",
        LARGE,
        "altered and expired URLs are refused, in Azure's XML",
        "hostile headers change nothing",
    } <= with_outcome(seen, Outcome.OK)
    assert seen["a small entry is saved"].detail == HOW_TO_SAVE
    assert seen[ONLY_WITHOUT_TOKEN].detail == "5 objects"
    assert count_objects(stack) == before


def count_objects(stack: Stack) -> int:
    pages = stack.s3.get_paginator("list_objects_v2").paginate(Bucket=stack.bucket)
    return sum(page["KeyCount"] for page in pages)


def test_token_claims_are_no_verification(server: str, verify: Verify) -> None:
    """A server that checks TOKEN_CLAIMS for an unsigned token didn't verify it."""
    said = '{"code":"permission_denied","msg":"cache read denied: this cache isn\'t for jobs of repository 1"}'
    with refusing_tokens(server, made(403, said, Content_Type="application/json")) as url:
        seen = verify(url, VERIFIED, LARGE)
    assert (seen[VERIFIED].outcome, seen[VERIFIED].detail[:8]) == (Outcome.OK, "not here")
    assert seen[LARGE].outcome is Outcome.SKIP


# ------------------------------------------------------------------ no answer

NAMED, TAKES, _ = REACH = (
    "the host's name has an address",
    "the host takes connections, with a good certificate",
    HEALTHY,
)


def test_unreachable_host_fails_once(verify: Verify) -> None:
    for url, failed, words in (
        (f"http://127.0.0.1:{free_port()}", TAKES, "the server isn't running"),
        ("https://no-such-host.invalid", NAMED, "DNS record"),
    ):
        seen = verify(url)
        assert with_outcome(seen, Outcome.FAIL) == {failed}
        assert words in seen[failed].detail
        assert seen[HEALTHY].detail == "needs a host that can be reached"


def test_untrusted_connection_is_explained(verify: Verify, server: str, tmp_path: Path) -> None:
    assert "speaks no TLS" in verify(server.replace("http:", "https:"), *REACH)[TAKES].detail
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))
    with listening(lambda plain: context.wrap_socket(plain, server_side=True).close()) as port:
        assert "a proxy that reads TLS" in verify(f"https://localhost:{port}", *REACH)[TAKES].detail


def hangs_up(connection: socket.socket) -> None:
    connection.recv(65536)


def says_nothing(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def drips(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        connection.sendall(b"x" * 1000)
        threading.Event().wait(0.05)


@pytest.mark.parametrize(
    ("serve", "words"),
    [
        (hangs_up, "broke before an answer came"),
        (says_nothing, "gave no answer in time, 0.3 s"),
        (drips, "didn't end"),
    ],
)
def test_lacking_answer_is_explained(verify: Verify, serve: Callable[[socket.socket], None], words: str) -> None:
    client = Client(replace(LIMITS, silence_seconds=0.3, transfer_seconds=0.6))
    with listening(serve) as port:
        assert words in verify(f"http://127.0.0.1:{port}", *REACH, client=client)[HEALTHY].detail


# ------------------------------------------------------------------ the command


def test_error_in_a_check_is_one_failed_line() -> None:
    def look(_: Context) -> str:
        raise ZeroDivisionError("a\nb")

    result = run(Check("it divides", look), Context(read_address("http://127.0.0.1"), None))
    assert (result.outcome, "\n" in result.detail) == (Outcome.FAIL, False)
    assert "this check itself failed" in result.detail


def test_exit_code_tells_failures_from_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", f"http://127.0.0.1:{free_port()}"]) == 1
    assert "something is wrong" in capsys.readouterr().out
    assert main(["--url", "not a url"]) == 2
    assert "give it as https://HOST/" in capsys.readouterr().err


def test_closed_pipe_shows_no_stack_trace() -> None:
    check = f"'{sys.executable}' -m actions_cache_cli.deployment_check --url http://127.0.0.1:{free_port()}"
    ran = subprocess.run(["bash", "-c", f"{check} | head -n 1"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.stderr == ""
