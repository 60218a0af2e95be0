"""What the check says of a server that is as it should be: the local run, with real engines."""

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from actions_cache_cli.deployment_check.__main__ import TRAFFIC_BYTES, main
from actions_cache_cli.deployment_check.address import read_address
from actions_cache_cli.deployment_check.check import Outcome
from actions_cache_cli.deployment_check.checks import CHECKS
from actions_cache_cli.deployment_check.checks.reach import HOW_TO_SAVE
from actions_cache_cli.deployment_check.context import Context
from actions_cache_cli.deployment_check.stack import Stack
from tests.integration.deployment_check.conftest import Verify, results
from tests.integration.deployment_check.proxy import Answer, Request, made, spoiling_proxy
from tests.support.clients.server import ROOT

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


def test_nothing_fails_and_only_what_needs_a_stack_is_skipped(server: str) -> None:
    context = Context(read_address(f"{server}/"), None)
    seen = results(context)
    assert [result for result in seen if result.outcome is Outcome.FAIL] == []
    assert {result.title for result in seen if result.outcome is Outcome.SKIP} == {*NEEDS_STACK, ONLY_WITHOUT_TOKEN}
    assert context.client.sent_bytes + context.client.received_bytes <= TRAFFIC_BYTES < MOST_TRAFFIC_BYTES


def test_with_a_stack_nothing_is_skipped_but_the_tidying(server: str, stack: Stack, verify: Verify) -> None:
    seen = verify(server, stack=stack)
    assert {title: str(result.detail) for title, result in seen.items() if result.outcome is not Outcome.OK} == {
        ONLY_WITHOUT_TOKEN: "nothing of that kind was put; entries expire by themselves"
    }
    assert seen["a fault in mid-stream breaks the connection"].detail.startswith("it broke after")
    assert "an expired URL" in seen["altered and expired URLs are refused, in Azure's XML"].detail
    assert seen["it is said whose jobs may come in"].detail.endswith("every job on github.com may store at your cost")
    assert "no job was refused" in seen["refused jobs are known"].detail
    assert "left no trace" in seen["hostile headers change nothing"].detail


def test_lines_are_one_each_and_the_exit_code_is_0(server: str) -> None:
    command = [sys.executable, "-m", "actions_cache_cli.deployment_check", "--url", server]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    first, *lines, summary = [line for line in ran.stdout.splitlines() if line]
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "MB go over the net" in first
    assert len(lines) == len(CHECKS)
    assert all(line.startswith(("ok    ", "skip  ")) for line in lines)
    assert summary.startswith("nothing failed: ")


def refuses_unsigned_tokens(request: Request, ask: Callable[[], Answer]) -> Answer:
    if "CacheService/" in request.path:
        return made(401, '{"code":"unauthenticated","msg":"the token isn\'t good"}', Content_Type="application/json")
    return ask()


def test_without_a_token_what_needs_no_save_is_checked_and_how_to_check_the_rest_is_said(
    server: str, verify: Verify
) -> None:
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


def test_naming_jobs_is_not_taken_for_verifying_tokens(server: str, verify: Verify) -> None:
    """A server that checks TOKEN_CLAIMS for an unsigned token didn't verify it."""
    with spoiling_proxy(server, keeps_strangers_out) as url:
        seen = verify(url, "signatures of tokens are verified", "a block over 10 MB passes")
    verified = seen["signatures of tokens are verified"]
    assert (verified.outcome, verified.detail[:8]) == (Outcome.OK, "not here")
    assert seen["a block over 10 MB passes"].outcome is Outcome.SKIP


def test_with_a_stack_and_no_token_the_edge_is_checked_and_nothing_stays(
    server: str, stack: Stack, verify: Verify
) -> None:
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


def test_json_names_each_check_with_its_outcome(
    server: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actions_cache_cli.deployment_check.__main__.CHECKS", CHECKS[:5])
    assert main(["--url", server, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["url"], document["failed"]) == (server, 0)
    assert [row["title"] for row in document["checks"]] == [check.title for check in CHECKS[:5]]
    assert {row["outcome"] for row in document["checks"]} == {"ok"}
