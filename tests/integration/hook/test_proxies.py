"""Behind a proxy, the look and what the hook sends elsewhere go the way that the client goes."""

import base64
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dev.clients.actions_cache import NEWEST
from tests.integration.hook.test_look import LOOK_CALL, WHY
from tests.support.fake_cache_server import LOOK_UP, FakeCacheServer, fake_cache_server
from tests.support.hooked_job import HookedJob, action_variables, install_hook, run_action
from tests.support.private_ca import CertificateAuthority
from tests.support.sockets import listening

HERE = Path(__file__).parent
OURS, GITHUBS = "cache.test", "results.test"
CLIENTS = HERE.parents[2] / "dev" / "clients" / "node_modules"
ARTIFACT = f"""
import({str(CLIENTS / "@actions/http-client/lib/index.js")!r}).then(async ({{ HttpClient }}) => {{
  const client = new HttpClient('x', [], {{ headers: {{ authorization: 'Bearer token' }} }})
  const url = new URL('/twirp/github.actions.results.api.v1.ArtifactService/X', process.env.ACTIONS_RESULTS_URL)
  const {{ message }} = await client.post(url.href, '{{}}')
  process.stdout.write(String(message.statusCode), () => process.exit())
}})
"""
"""An artifact's request, as @actions/artifact sends it."""


@dataclass
class Network:
    """A proxy by which hosts are reached whose names nothing else knows."""

    ours: FakeCacheServer
    github: FakeCacheServer
    ports: dict[str, int]
    trust: dict[str, str]
    login: str = ""
    heads: list[str] = field(default_factory=list)
    """Of the CONNECT requests."""

    @property
    def connected(self) -> list[str]:
        return [head.split()[1] for head in self.heads]

    def serve(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        self.heads.append(head.decode())
        wanted = f"Basic {base64.b64encode(self.login.encode()).decode()}"
        said = re.search(r"(?i)^proxy-authorization: (.*?)\r$", self.heads[-1], re.MULTILINE)
        if self.login and (said is None or said[1] != wanted):
            client.sendall(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
            return
        host = self.connected[-1].partition(":")[0]
        with socket.create_connection(("127.0.0.1", self.ports[host])) as there:
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=pour, args=(there, client), daemon=True)
            back.start()
            pour(client, there)
            back.join()


def pour(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(65536):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    authority = CertificateAuthority()
    (tmp_path / "ca.pem").write_text(authority.pem)
    context = authority.server_context(tmp_path, OURS, GITHUBS)
    with ExitStack() as stack:
        ours, github = (stack.enter_context(fake_cache_server(context)) for _ in range(2))
        ports = {OURS: ours.port, GITHUBS: github.port}
        ours.url, github.url = f"https://{OURS}", f"https://{GITHUBS}"
        yield Network(ours, github, ports, {"NODE_EXTRA_CA_CERTS": str(tmp_path / "ca.pem")})


@pytest.mark.parametrize("login", ["", "user:pass word"])
def test_job_behind_a_proxy_looks_and_restores(network: Network, tmp_path: Path, temporary: Path, login: str) -> None:
    network.login = login
    hook = install_hook(tmp_path / "hook", f"https://{OURS}/")
    shown = "user:pass%20word@" if login else ""
    with listening(network.serve) as port:
        proxy = {"HTTPS_PROXY": f"http://{shown}127.0.0.1:{port}", "no_proxy": "other.test, .example.com"}
        job = HookedJob(network.github.url, tmp_path, "t", NEWEST, hook=hook, variables={**network.trust, **proxy})
        (tmp_path / "data").write_bytes(b"1")
        assert job.save(["data"], "key").result == 1
        restored = job.restore(["data"], "key")
        assert restored.result == "key", restored.log
        variables = action_variables(hook, temporary, ACTIONS_RESULTS_URL=f"{network.github.url}/")
        assert run_action(ARTIFACT, {**variables, **network.trust, **proxy}) == "200"
    assert network.ours.calls.count(LOOK_CALL) == 1
    assert LOOK_UP in network.ours.calls
    assert set(network.connected) == {f"{OURS}:443", f"{GITHUBS}:443"}
    [artifact] = network.github.asked
    assert (artifact.header("host"), artifact.header("authorization")) == ([GITHUBS], ["Bearer token"])


@pytest.mark.parametrize("exception", ["cache.test", "CACHE.test:443", ".test", "test", "*", "other.test, cache.test"])
def test_look_keeps_to_exceptions(network: Network, tmp_path: Path, temporary: Path, exception: str) -> None:
    """Without the proxy, the name has no address."""
    hook = install_hook(tmp_path / "hook", f"https://{OURS}/")
    with listening(network.serve) as port:
        proxy = {"https_proxy": f"127.0.0.1:{port}", "NO_PROXY": exception}
        run_action("", action_variables(hook, temporary, **network.trust, **proxy))
    assert network.heads == []
    assert (temporary / ".actions-cache-hook").read_text().startswith("down ")


@pytest.mark.parametrize(("exception", "goes_by"), [("results.test", OURS), ("cache.test:444", GITHUBS), ("", GITHUBS)])
def test_artifact_takes_the_way_that_the_client_has(
    network: Network, tmp_path: Path, temporary: Path, exception: str, goes_by: str
) -> None:
    """The client's connections lead by the proxy, where GitHub's host isn't to be reached by it."""
    hook = install_hook(tmp_path / "hook", f"https://{OURS}/")
    with listening(network.serve) as port:
        proxy = {"https_proxy": f"http://127.0.0.1:{port}", "no_proxy": exception}
        variables = action_variables(hook, temporary, ACTIONS_RESULTS_URL=f"{network.github.url}/")
        assert run_action(ARTIFACT, {**variables, **network.trust, **proxy}) == "200"
    assert network.connected == [f"{OURS}:443", f"{goes_by}:443"]


def test_proxy_that_refuses_counts_as_down(network: Network, tmp_path: Path, temporary: Path) -> None:
    network.login = "user:password"
    hook = install_hook(tmp_path / "hook", f"https://{OURS}/")
    with listening(network.serve) as port:
        proxy = {"https_proxy": f"http://127.0.0.1:{port}"}
        job = HookedJob(network.github.url, tmp_path, "t", NEWEST, hook=hook, variables={**network.trust, **proxy})
        restored = job.restore(["data"], "key")
    assert restored.result is None
    assert any(WHY in line for line in restored.log)
    assert network.connected == [f"{OURS}:443"]
