"""Functions as processes of their own, behind a gate: what a scenario kills."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dev.local.lambda_runtime import Functions
from dev.local.process import LOOPBACK, Guard, Program, listen
from dev.local.resources import Resources
from dev.local.template import ROOT
from tests.guarantees.crashes.gate import Gate, gated

START_SECONDS = 30
INTERVAL_SECONDS = 0.2
"""Of a schedule."""

SERIAL = {"MERGE_CONCURRENCY": "1", "MERGE_LEASE_SECONDS": "3"}
"""A run's calls come one after the other, so a point is one moment of it."""

OF_FUNCTIONS = (
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_SQS",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
)
OF_ROTATION = (*OF_FUNCTIONS, "AWS_ENDPOINT_URL_CLOUDFRONT_KEYVALUESTORE")
"""A server's calls of it are the emulated edge's, not a function's."""


@dataclass(frozen=True)
class Stage:
    """What a process needs to run: resources, where their engines are, a clock, and where logs go."""

    resources: Resources
    endpoints: Mapping[str, str]
    clock: Path
    logs: Path

    @contextmanager
    def server(self, gate: Gate | None = None) -> Iterator[str]:
        """The HTTP functions behind the edge. Gives the URL."""
        listener = listen(LOOPBACK, 0)
        url = f"http://{LOOPBACK}:{listener.getsockname()[1]}"
        with listener, self._gated(gate, OF_FUNCTIONS) as endpoints, Guard.started() as guard:
            process = self._functions(endpoints).server(listener.fileno())
            with self._running(process, guard, gate) as popen:
                # Or it would take the dead one's connections, and answer none.
                listener.close()
                _wait_until_healthy(url, popen)
                yield url

    @contextmanager
    def worker(self, gate: Gate) -> Iterator["subprocess.Popen[bytes]"]:
        with self._gated(gate, OF_FUNCTIONS) as endpoints, Guard.started() as guard:
            [process] = self._functions(endpoints).workers(1)
            with self._running(process, guard, gate) as popen:
                yield popen

    @contextmanager
    def schedule(self, name: str, gate: Gate) -> Iterator["subprocess.Popen[bytes]"]:
        with self._gated(gate, OF_ROTATION) as endpoints, Guard.started() as guard:
            processes = self._functions(endpoints).schedules(INTERVAL_SECONDS)
            process = next(process for process in processes if process.name == name)
            often = replace(process, command=[*process.command, f"--interval={INTERVAL_SECONDS}"])
            with self._running(often, guard, gate) as popen:
                yield popen

    @contextmanager
    def _gated(self, gate: Gate | None, variables: tuple[str, ...]) -> Iterator[dict[str, str]]:
        if gate is None:
            yield dict(self.endpoints)
            return
        with gated({name: self.endpoints[name] for name in variables}, gate) as gates:
            yield {**self.endpoints, **gates}

    def _functions(self, endpoints: Mapping[str, str]) -> Functions:
        return Functions(self.resources, {**os.environ, **SERIAL}, endpoints)

    @contextmanager
    def _running(self, process: Program, guard: Guard, gate: Gate | None) -> Iterator["subprocess.Popen[bytes]"]:
        _python, _m, module, *options = process.command
        with (self.logs / f"{process.name}.log").open("ab") as log:
            popen = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.guarantees.crashes.function",
                    f"--clock={self.clock}",
                    f"--module={module}",
                    *options,
                ],
                cwd=ROOT,
                env=dict(process.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=process.passed,
                process_group=guard.group,
            )

        def kill() -> None:
            popen.kill()
            popen.wait()

        if gate is not None:
            gate.kill = kill
        try:
            yield popen
        finally:
            kill()


def _wait_until_healthy(url: str, popen: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while popen.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=10):
                return
        except (OSError, urllib.error.HTTPError):
            time.sleep(0.05)
    raise AssertionError(f"the server isn't healthy after {START_SECONDS} s, or has ended: {popen.poll()}")
