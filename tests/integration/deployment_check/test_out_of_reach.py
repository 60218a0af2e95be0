"""Servers that give no answer at all, and what the check does then: it says why, skips the rest, and never breaks."""

import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from actions_cache_cli.deployment_check import wire
from actions_cache_cli.deployment_check.__main__ import main
from actions_cache_cli.deployment_check.address import read_address
from actions_cache_cli.deployment_check.check import Check, Outcome, run
from actions_cache_cli.deployment_check.context import Context
from tests.integration.deployment_check.conftest import Verify
from tests.support.clients.server import ROOT, free_port
from tests.support.listening import listening, self_signed

REACH = (
    "the host's name has an address",
    "the host takes connections, with a good certificate",
    "table, bucket and queue answer",
)


def test_a_port_where_nothing_listens_fails_once_and_the_rest_is_skipped(verify: Verify) -> None:
    seen = verify(f"http://127.0.0.1:{free_port()}")
    failed = [result.title for result in seen.values() if result.outcome is Outcome.FAIL]
    assert failed == [REACH[1]]
    assert "the server isn't running" in seen[REACH[1]].detail
    assert seen[REACH[2]].detail == "needs a host that can be reached"


def test_a_name_without_an_address_fails_once(verify: Verify) -> None:
    seen = verify("https://no-such-host.invalid")
    assert [result.title for result in seen.values() if result.outcome is Outcome.FAIL] == [REACH[0]]
    assert "DNS record" in seen[REACH[0]].detail


def test_https_to_a_port_that_speaks_http_says_so(verify: Verify, server: str) -> None:
    seen = verify(server.replace("http:", "https:"), *REACH)
    assert "speaks no TLS" in seen[REACH[1]].detail


def test_a_certificate_of_its_own_is_not_trusted(verify: Verify, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))
    with listening(lambda plain: context.wrap_socket(plain, server_side=True).close()) as port:
        seen = verify(f"https://localhost:{port}", *REACH)
    assert "a proxy that reads TLS" in seen[REACH[1]].detail


def test_a_server_that_never_answers_is_given_up(verify: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "SILENCE_SECONDS", 0.3)
    with listening(lambda connection: void(connection.recv, forever=True)) as port:
        seen = verify(f"http://127.0.0.1:{port}", *REACH)
    assert "was silent" in seen[REACH[2]].detail


def void(read: Callable[[int], bytes], *, forever: bool) -> None:
    while read(65536) and forever:
        pass


def test_an_answer_that_never_ends_is_given_up(verify: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "TRANSFER_SECONDS", 0.3)

    def drip(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            connection.sendall(b"x" * 1000)
            threading.Event().wait(0.05)

    with listening(drip) as port:
        seen = verify(f"http://127.0.0.1:{port}", *REACH)
    assert "didn't end" in seen[REACH[2]].detail


def test_a_connection_that_breaks_is_explained(verify: Verify) -> None:
    with listening(lambda connection: void(connection.recv, forever=False)) as port:
        seen = verify(f"http://127.0.0.1:{port}", *REACH)
    assert "broke before an answer came" in seen[REACH[2]].detail


def test_a_check_with_a_fault_of_its_own_is_one_failed_line() -> None:
    def look(_: Context) -> str:
        raise ZeroDivisionError("a\nb")

    result = run(Check("it divides", look), Context(read_address("http://127.0.0.1"), None))
    assert result.outcome is Outcome.FAIL
    assert "this check itself failed" in result.detail
    assert "\n" not in result.detail


def test_the_exit_code_is_1_when_something_failed_and_2_when_nothing_could_be_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--url", f"http://127.0.0.1:{free_port()}"]) == 1
    assert "something is wrong" in capsys.readouterr().out
    assert main(["--url", "not a url"]) == 2
    assert "give it as https://HOST/" in capsys.readouterr().out


def test_a_reader_that_stops_reading_sees_no_stack_trace() -> None:
    command = (
        f"'{sys.executable}' -m actions_cache_cli.deployment_check --url http://127.0.0.1:{free_port()} | head -n 1"
    )
    ran = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.stderr == ""
