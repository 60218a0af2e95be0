"""The processes that run the functions."""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.local.console import RunFailed, say
from dev.local.execution import PATIENCE_SECONDS
from dev.local.logs import fresh_log, obituary
from dev.local.template import ROOT

SHORTEST_LIFE_SECONDS = 5
"""A process that ends sooner would end so again."""


@dataclass(frozen=True)
class FunctionProcess:
    """What to start: a module of this package.

    Args:
        options: of its command line.
        passed: file descriptors that it alone inherits.
        replaced: whether another takes its place when it ends, as Lambda would do it.
    """

    name: str
    module: str
    options: Mapping[str, object]
    environment: Mapping[str, str]
    passed: Sequence[int] = ()
    replaced: bool = True


@dataclass
class _Running:
    process: FunctionProcess
    popen: "subprocess.Popen[bytes]"
    log: Path
    started_at: float


class FunctionProcesses:
    """Args: passed: file descriptors that all of them inherit."""

    def __init__(self, logs: Path, passed: Sequence[int]) -> None:
        self._logs = logs
        self._passed = passed
        self._running: list[_Running] = []

    def start(self, process: FunctionProcess) -> Path:
        """In a session of its own: Ctrl-C is for the supervisor, which stops everything in order.

        Returns: its log.
        """
        log = fresh_log(self._logs, process.name)
        with log.open("wb") as output:
            popen = subprocess.Popen(
                [sys.executable, "-m", process.module, *(f"--{name}={it}" for name, it in process.options.items())],
                cwd=ROOT,
                env=process.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(*self._passed, *process.passed),
                start_new_session=True,
            )
        self._running.append(_Running(process, popen, log, time.monotonic()))
        return log

    def wait_for(self, name: str, seconds: float) -> None:
        """Until a process that is to end by itself has.

        Raises: RunFailed: it ended with an error, or not in time.
        """
        [running] = [it for it in self._running if it.process.name == name]
        try:
            code = running.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise RunFailed(f"{name} isn't done after {seconds} s: see {running.log}") from None
        if code:
            raise RunFailed(obituary(name, running.log))
        self._running.remove(running)

    def check(self) -> None:
        """Starts others for those that ended.

        Raises:
            RunFailed: one is gone for good.
        """
        for ended in [it for it in self._running if it.popen.poll() is not None]:
            name, lived = ended.process.name, time.monotonic() - ended.started_at
            if not ended.process.replaced or lived < SHORTEST_LIFE_SECONDS:
                raise RunFailed(obituary(f"the {name}", ended.log))
            say(f"the {name} ended: starting another")
            self._running.remove(ended)
            self.start(ended.process)

    def stop(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        for running in self._running:
            running.popen.terminate()
        for running in self._running:
            try:
                running.popen.wait(max(0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                running.popen.kill()
                running.popen.wait()
