"""`make sam-local`: serves the built API by `sam local start-api`, on local emulators. Needs Docker, on Linux.

Only the API: `sam local` has no queue and no schedule. Their functions are run by `sam local invoke`.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import urllib3

from dev.build.package import ARCHITECTURE, BUILD
from dev.local import emulators
from dev.local.resources import Clients, Resources, create
from dev.local.template import ROOT, Template

SAM = ROOT / ".tools" / "sam" / "bin" / "sam"
START_SECONDS = 180
STOP_SECONDS = 60


@dataclass(frozen=True)
class SamLocal:
    url: str
    clients: Clients
    resources: Resources
    options: tuple[str, ...]
    """Options of every `sam local` command."""
    environment: Mapping[str, str]

    def invoke(self, function: str, event: Mapping[str, Any]) -> Any:
        """Invoke a function by its logical id, and return its answer."""
        done = subprocess.run(
            [SAM, "local", "invoke", function, "--event", "-", *self.options],
            input=json.dumps(event),
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        return json.loads(done.stdout)


@contextmanager
def serving(data: Path, port: int) -> Iterator[SamLocal]:
    """Serve the API on 127.0.0.1 until the block ends.

    Args:
        data: directory of the emulators.
        port: of the API.
    """
    with ExitStack() as running:
        endpoints = running.enter_context(emulators.start(data))
        os.environ |= endpoints.environment()
        clients = Clients.of(boto3.Session())
        resources = create(Template.load(), clients)
        bridge = _output("docker", "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
        for emulator_port in {urlsplit(url).port for url in (endpoints.store, endpoints.table)}:
            if emulator_port is not None:
                running.enter_context(_relayed(bridge, emulator_port))
        from_containers = {
            name: value.replace("//127.0.0.1:", f"//{bridge}:") for name, value in endpoints.environment().items()
        }
        variables = _variables(resources, from_containers)
        image = _output("dev/sam_local/lambda_image.sh", ARCHITECTURE, str(BUILD))
        options = (
            *("--template-file", str(_template(variables)), "--invoke-image", image),
            *("--skip-pull-image", "--parameter-overrides", f"Architecture={ARCHITECTURE}"),
            *("StreamDownloads=false", "TokenClaims=any"),
        )
        # A variable of the shell's goes before the template's.
        environment = os.environ | variables | {"SAM_CLI_TELEMETRY": "0"}
        url = f"http://127.0.0.1:{port}"
        running.enter_context(_started(url, options, environment))
        yield SamLocal(url, clients, resources, options, environment)


def _variables(resources: Resources, endpoints: Mapping[str, str]) -> dict[str, str]:
    urls = {name: value for name, value in endpoints.items() if name.startswith("AWS_ENDPOINT_URL_")}
    own = resources.environment("ApiFunction") | resources.environment("ManageFunction")
    return own | urls | {"VERIFY_TOKENS": "0"}


def _template(variables: Mapping[str, str]) -> Path:
    """Write the built template with the variables in it: `sam local` sets none that the template doesn't declare."""
    template = Template.load(BUILD / "template.yaml")
    template.body["Globals"]["Function"]["Environment"]["Variables"] = variables
    path = BUILD / "sam-local.json"
    path.write_text(json.dumps(template.body))
    return path


@contextmanager
def _started(url: str, options: tuple[str, ...], environment: Mapping[str, str]) -> Iterator[None]:
    address = urlsplit(url)
    sam = subprocess.Popen(
        [
            *(SAM, "local", "start-api", "--host", str(address.hostname), "--port", str(address.port)),
            *("--warm-containers", "EAGER", *options),
        ],
        env=environment,
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        _wait_until_healthy(url, sam)
        yield
    finally:
        sam.send_signal(signal.SIGINT)  # at which it removes its containers
        sam.wait(STOP_SECONDS)


def _wait_until_healthy(url: str, sam: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and sam.poll() is None:
        try:
            if urllib3.request("GET", f"{url}/health", retries=False, timeout=60).status == 200:
                return
        except urllib3.exceptions.HTTPError:
            time.sleep(0.5)
    raise RuntimeError(f"{url} isn't healthy after {START_SECONDS} s")


@contextmanager
def _relayed(host: str, port: int) -> Iterator[None]:
    """Let containers reach, at `port` of `host`, the same port of 127.0.0.1."""
    with socket.create_server((host, port)) as listener:
        threading.Thread(target=_accept, args=(listener, port), daemon=True).start()
        yield


def _accept(listener: socket.socket, port: int) -> None:
    with suppress(OSError):  # the listener was closed
        while True:
            near, _ = listener.accept()
            threading.Thread(target=_connect, args=(near, port), daemon=True).start()


def _connect(near: socket.socket, port: int) -> None:
    with near, socket.create_connection(("127.0.0.1", port)) as far:
        back = threading.Thread(target=_pump, args=(far, near), daemon=True)
        back.start()
        _pump(near, far)
        back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _output(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    port = int(os.environ.get("PORT", "3000"))
    try:
        with serving(ROOT / ".local" / "sam", port) as sam:
            print(f"ready {sam.url}", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        print("stopped")


if __name__ == "__main__":
    main()
