"""The doctor in a job of a real server, and with each trouble really made."""

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from actions_cache_cli.doctor.__main__ import Case, examine
from actions_cache_cli.doctor.address import CONNECT_SECONDS
from actions_cache_cli.doctor.job import GITHUBS
from actions_cache_cli.doctor.probe import Limits
from actions_cache_cli.doctor.report import OK, TROUBLE, UNKNOWN, WARNING, Finding
from actions_cache_cli.doctor.runner import find_place
from dev.clients.local_server import free_port
from dev.clients.runtime_token import BRANCH, READ, ac_claim, runtime_token
from dev.local.template import ROOT
from tests.integration.deployment_check.proxy import Answer, Request, made, spoiling_proxy
from tests.support.private_ca import self_signed
from tests.support.sockets import listening

HOOK = ROOT / "runners" / "hook.cjs"

Ask = Callable[[], Answer]


def job(server: str, token: str | None = None, **changes: str) -> dict[str, str]:
    """An action's variables, as the runner makes them."""
    usual = {
        "PATH": os.environ["PATH"],
        "GITHUB_ACTIONS": "true",
        "ACTIONS_CACHE_SERVICE_V2": "True",
        "ACTIONS_RESULTS_URL": f"{server}/",
        "ACTIONS_RUNTIME_TOKEN": token or runtime_token(),
    }
    return usual | changes


def examined(
    variables: Mapping[str, str], url: str | None = None, *, writes: bool = False, is_container: bool = False
) -> dict[str, Finding]:
    place = find_place(variables, is_container=is_container)
    found = list(examine(Case(variables, place, url=url, writes=writes)))
    for finding in found:
        assert bool(finding.to_do) == (finding.state in (TROUBLE, WARNING)), finding
    return {finding.title: finding for finding in found}


def in_trouble(found: Mapping[str, Finding]) -> list[str]:
    return [title for title, finding in found.items() if finding.state == TROUBLE]


def with_artifacts(request: Request, ask: Ask) -> Answer:
    """Stands in for a RESULTS_SERVICE_URL that leads to GitHub."""
    if "ArtifactService" in request.path:
        is_job = request.headers.get("Authorization", "").startswith("Bearer ")
        status, said = (200, '{"artifacts": []}') if is_job else (401, '{"code": "unauthenticated", "msg": "no token"}')
        return made(status, said, Content_Type="application/json")
    return ask()


def test_healthy_job_passes_all_checks(server: str) -> None:
    with spoiling_proxy(server, with_artifacts) as url:
        command = [sys.executable, "-m", "actions_cache_cli.doctor", "--json", "--write", "--url", url]
        ran = subprocess.run(command, cwd=ROOT, env=job(url), capture_output=True, text=True, check=False)
    document = json.loads(ran.stdout)
    states = {row["title"]: row["state"] for row in document["findings"]}
    assert set(states.values()) == {OK}, ran.stdout
    assert {"what jobs are told", "server", "clock", "token", "lookup", "lookup by v1", "save and restore"} <= set(
        states
    )
    assert (ran.returncode, document["trouble"]) == (0, False)


def said_in(variables: Mapping[str, str], *options: str) -> tuple[list[str], int]:
    command = [sys.executable, "-m", "actions_cache_cli.doctor", *options]
    ran = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    return ran.stdout.splitlines(), ran.returncode


def test_local_run_passes_with_one_warning(server: str) -> None:
    lines, code = said_in(job(server), "-v")
    assert "ok         lookup: the server takes the token, and a key that nobody saved is a miss" in lines
    assert lines[0].startswith(
        "warning    other services: the cache works, but upload-artifact and job summaries don't"
    )
    assert lines[1].startswith("           to do: set its RESULTS_SERVICE_URL")
    assert not any(line.startswith("warning ") for line in lines[1:])
    assert lines[-1].startswith("no trouble found: ")
    assert lines[-1].endswith(" are well, 1 with a warning, 1 can't be told")
    assert code == 0


def test_trouble_sets_line_prefix_and_exit_code(server: str) -> None:
    lines, code = said_in(job(server, ACTIONS_RESULTS_URL=server))
    assert [line.split(":")[0] for line in lines[:3]] == [
        "trouble    the URL",
        "           to do",
        "warning    other services",
    ]
    assert not any(line.startswith("ok ") for line in lines)
    assert any(line.startswith("can't tell save and restore: not asked for; with --write") for line in lines)
    assert lines[-1].startswith("1 in trouble")
    assert code == 1


def test_report_never_shows_token(server: str) -> None:
    token = runtime_token()
    details = " ".join(finding.text for finding in examined(job(server, token), writes=True).values())
    assert not any(part in details for part in token.split(".") if len(part) > 30)


def test_server_is_checked_without_token(server: str) -> None:
    found = examined({"PATH": os.environ["PATH"]}, url=f"{server}/")
    assert found["server"].state == found["cache API"].state == OK
    assert found["token"].state == UNKNOWN
    assert "lookup" not in found


# ------------------------------------------------------------------ what jobs are told


def test_unpatched_runner_is_detected(server: str) -> None:
    found = examined(job(server, ACTIONS_RESULTS_URL=GITHUBS, CUSTOM_ACTIONS_RESULTS_URL=f"{server}/"))
    assert "this runner ignores it" in found["what jobs are told"].text
    assert in_trouble(found) == ["what jobs are told"]
    assert found["lookup"].state == OK


def test_hook_redirects_only_node_processes(server: str) -> None:
    found = examined(
        job(
            server,
            ACTIONS_RESULTS_URL=GITHUBS,
            CUSTOM_ACTIONS_RESULTS_URL=server,
            NODE_OPTIONS=f"--require {HOOK}",
        )
    )
    assert f"by the hook {HOOK}" in found["what jobs are told"].text
    assert in_trouble(found) == ["what isn't node"]
    # The hook adds the slash that the given URL lacks.
    assert found["the URL"].state == OK


# ------------------------------------------------------------------ the way


@pytest.mark.parametrize(
    ("is_container", "said"), [(False, "the server isn't running"), (True, "the container itself, not the machine")]
)
def test_dead_port_stops_further_checks(is_container: bool, said: str) -> None:
    found = examined(job(f"http://127.0.0.1:{free_port()}"), is_container=is_container)
    assert in_trouble(found) == ["connection"]
    assert said in found["connection"].text
    assert found["server"].state == UNKNOWN


def test_unresolvable_host_is_trouble() -> None:
    found = examined(job("https://no-such-host.invalid"))
    assert in_trouble(found) == ["connection"]
    assert "DNS record" in found["connection"].text


def relay(client: socket.socket, port: int) -> None:
    """Both ways until one side ends."""

    def copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(65536):
                # The local run doesn't answer to other machines' names.
                target.sendall(chunk.replace(b"Host: cache.test\r\n", b"Host: localhost\r\n"))
            target.shutdown(socket.SHUT_WR)

    with socket.create_connection(("127.0.0.1", port)) as server:
        back = threading.Thread(target=copy, args=(server, client), daemon=True)
        back.start()
        copy(client, server)
        back.join(5)


@contextmanager
def by_tls(server: str | Callable[[], str], directory: Path) -> Iterator[tuple[str, Path]]:
    """Serve the server over TLS, with a self-signed certificate for localhost. It doesn't know of TLS.

    Args:
        server: its URL, or a function that returns it once a connection comes.
        directory: the certificate's.
    """
    certificate = self_signed(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def serve(plain: socket.socket) -> None:
        with context.wrap_socket(plain, server_side=True) as secured:
            relay(secured, urlsplit(server if isinstance(server, str) else server()).port or 0)

    with listening(serve) as port:
        yield f"https://localhost:{port}", certificate


@pytest.mark.parametrize(
    ("node_knows", "system_knows", "expected"),
    [
        (False, False, ["system's certificates", "node's certificates", "server"]),
        (True, False, ["system's certificates"]),
        (False, True, ["node's certificates"]),
        (True, True, []),
    ],
)
def test_certificate_authority_is_checked_for_node_and_system(
    server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    node_knows: bool,
    system_knows: bool,
    expected: list[str],
) -> None:
    with by_tls(server, tmp_path) as (url, certificate):
        if system_knows:
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        extra = {"NODE_EXTRA_CA_CERTS": str(certificate)} if node_knows else {}
        found = examined(job(url, **extra))
    assert in_trouble(found) == expected
    assert ("NODE_EXTRA_CA_CERTS=/its/path" in found["node's certificates"].text) is not node_knows
    assert ("lookup" in found) is (node_knows or system_knows)


def test_missing_ca_file_is_named(server: str, tmp_path: Path) -> None:
    with by_tls(server, tmp_path) as (url, _):
        found = examined(job(url, NODE_EXTRA_CA_CERTS=str(tmp_path / "gone.pem")))
    assert "gone.pem, which isn't a file here" in found["node's certificates"].text


def test_https_to_plain_http_server_is_explained(server: str) -> None:
    found = examined(job(server.replace("http:", "https:")))
    for title in ("system's certificates", "node's certificates"):
        assert "speaks no TLS" in found[title].text
        assert "NODE_EXTRA_CA_CERTS" not in found[title].text


@contextmanager
def http_proxy(server: str, status: str = "200 OK") -> Iterator[tuple[str, list[bytes]]]:
    """A CONNECT proxy for which every host is the server. Yields its URL, and the heads of what it was asked."""
    heads: list[bytes] = []

    def serve(client: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        heads.append(head)
        client.sendall(f"HTTP/1.1 {status}\r\n\r\n".encode())
        if status.startswith("200"):
            relay(client, urlsplit(server).port or 0)

    with listening(serve) as port:
        yield f"http://user:pass@127.0.0.1:{port}", heads


def test_proxy_is_used_as_node_uses_it(server: str) -> None:
    with http_proxy(server) as (proxy, heads):
        found = examined(job("http://cache.test", HTTP_PROXY=proxy))
    assert found["proxy"].state == found["server"].state == found["lookup"].state == OK
    assert "connection" not in found
    assert heads[0].startswith(b"CONNECT cache.test:80 ")
    assert b"Proxy-Authorization: Basic dXNlcjpwYXNz" in heads[0]


def test_refusing_proxy_is_named_without_password(server: str) -> None:
    with http_proxy(server, "403 Forbidden") as (proxy, _):
        found = examined(job("http://cache.test", HTTP_PROXY=proxy))
    assert "403 Forbidden" in found["server"].text
    assert f"through the proxy {proxy.replace('user:pass@', '')}" in found["server"].text


def test_hanging_server_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actions_cache_cli.doctor.__main__.LIMITS", Limits(0.2, 0.2, 1000))

    began = time.monotonic()

    def hang(connection: socket.socket) -> None:
        while connection.recv(65536):
            pass

    def drip(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            connection.sendall(b"x")
            threading.Event().wait(0.05)

    def break_off(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")

    for serve, said in ((hang, "no answer in time"), (drip, "didn't end"), (break_off, "broke")):
        with listening(serve) as port:
            found = examined(job(f"http://127.0.0.1:{port}"))
        assert said in found["server"].text
        assert "clock" not in found
    assert time.monotonic() - began < CONNECT_SECONDS / 2


# ------------------------------------------------------------------ the server


def test_token_is_sent_only_to_cache_server(server: str) -> None:
    seen = []

    def sign_in(request: Request, ask: Ask) -> Answer:
        seen.append({name.lower() for name in request.headers})
        return made(200, "<html><title>Sign in</title></html>", Content_Type="text/html")

    with spoiling_proxy(server, sign_in) as url:
        found = examined(job(url), writes=True)
    assert in_trouble(found) == ["server", "cache API"]
    assert "Sign in" in found["server"].text
    assert found["lookup"].state == UNKNOWN
    assert seen
    assert not any("authorization" in names for names in seen)


# ------------------------------------------------------------------ the token, and the real try


def test_read_only_token_skips_save_check(server: str) -> None:
    found = examined(job(server, runtime_token([(BRANCH, READ)])), writes=True)
    assert found["token"].text.startswith("read-only")
    assert found["lookup"].state == OK
    assert found["save and restore"].state == UNKNOWN


def test_token_refusal_is_quoted_with_advice(server: str) -> None:
    found = examined(job(server, runtime_token(exp=1)), writes=True)
    assert "expired" in found["token"].text
    assert "a token ends with its job" in found["lookup"].text
    assert "TOKEN_ISSUERS" not in found["lookup"].text + found["lookup by v1"].detail
    assert found["save and restore"].state == UNKNOWN


def test_token_refused_only_by_server_is_trouble(server: str) -> None:
    found = examined(job(server, runtime_token(ac=ac_claim([(f"refs/heads/{n}", 3) for n in range(65)]))))
    assert found["token"].state == OK
    assert "401 unauthenticated" in found["lookup"].text


def without_v1(request: Request, ask: Ask) -> Answer:
    return made(403, '{"message": "Missing"}') if request.path.startswith("/_apis/") else ask()


def test_missing_v1_api_is_trouble_only_for_v1_jobs(server: str) -> None:
    with spoiling_proxy(server, without_v1) as url:
        by_v2, by_v1 = (
            examined(job(url, **changes))
            for changes in ({}, {"GITHUB_SERVER_URL": "https://ghes.example", "ACTIONS_CACHE_URL": f"{url}/"})
        )
    assert (by_v2["lookup by v1"].state, by_v1["lookup by v1"].state) == (WARNING, TROUBLE)
    for found in (by_v1, by_v2):
        assert 'must answer 204 to a key that nobody saved, not 403, "Missing"' in found["lookup by v1"].detail
        assert found["lookup by v1"].to_do.startswith("look at the token's scopes")
        assert found["lookup"].state == OK


def spoiled_save(server: str, spoil: Callable[[Request, Ask], Answer]) -> str:
    with spoiling_proxy(server, spoil) as url:
        found = examined(job(url), writes=True)
    assert found["save and restore"].state == TROUBLE
    return found["save and restore"].text


def test_changed_bytes_are_trouble(server: str) -> None:
    def flip(request: Request, ask: Ask) -> Answer:
        if request.path == "/flipped":
            return made(200, "x" * 65536)
        if not request.path.endswith("GetCacheEntryDownloadURL"):
            return ask()
        answer = ask()
        said = json.loads(answer.body)
        if "signed_download_url" not in said or not said["ok"]:
            return answer
        host = request.headers["Host"]
        body = json.dumps(said | {"signed_download_url": f"http://{host}/flipped"}).encode()
        return answer.but(
            headers={**answer.without("Content-Length").headers, "Content-Length": str(len(body))}, body=body
        )

    assert "not the same ones" in spoiled_save(server, flip)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("CreateCacheEntry", "CreateCacheEntry gets 503"),
        ("/blobs/upload/", "the upload to 127.0.0.1"),
        ("FinalizeCacheEntryUpload", "FinalizeCacheEntryUpload gets 503"),
    ],
)
def test_failed_save_names_its_step(server: str, part: str, said: str) -> None:
    def refuse(request: Request, ask: Ask) -> Answer:
        return made(503, "no") if part in request.path else ask()

    assert said in spoiled_save(server, refuse)
