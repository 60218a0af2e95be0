"""Child processes: each with a log of its own, and all of them ended when this process dies, however it dies."""

import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dev.local.console import RunFailed, say
from dev.local.template import ROOT

SHORTEST_LIFE_SECONDS = 5
"""Seconds below which a process that ended isn't restarted: it would end the same way again."""

LOOPBACK = "127.0.0.1"

CANDIDATE_PORTS = range(12_000, 22_000)
GRPC_OFFSET = 10_000
"""Distance of SeaweedFS's gRPC ports, on which its admin server insists. These, too, stay below the ports that Linux
(from 32768) and macOS (from 49152) use for outgoing connections, which come and go."""


@dataclass(frozen=True)
class Guard:
    """Ends a process group when the process that started the guard is gone.

    The guard is a process (guard.py) that leads the group and reads a pipe. SIGKILL runs no handler and no `finally`,
    but it closes the pipe. Ctrl-C and signals to this process's own group don't reach the guard's group.
    """

    popen: "subprocess.Popen[bytes]"

    @classmethod
    @contextmanager
    def started(
        cls, stop_seconds: float = 15, hold: Sequence[int] = (), leftovers: Sequence[Path] = ()
    ) -> Iterator["Guard"]:
        """Guard a process group until the block ends, or this process does; then end what is left of the group.

        Args:
            stop_seconds: Seconds from SIGTERM to SIGKILL.
            hold: File descriptors that the guard keeps open until the group is gone.
            leftovers: Files that the group leaves behind, to be deleted.
        """
        popen = subprocess.Popen(
            [sys.executable, "-m", "dev.local.guard", f"--stop-seconds={stop_seconds}", *map(str, leftovers)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=hold,
            process_group=0,
        )
        try:
            yield cls(popen)
        finally:
            popen.communicate(b"end")

    @property
    def group(self) -> int:
        """The id of the process group, which children join."""
        return self.popen.pid

    @property
    def keep(self) -> int:
        """The pipe's file descriptor: the group lives on while any process has it open."""
        assert self.popen.stdin is not None
        return self.popen.stdin.fileno()

    def check(self) -> None:
        """Raise if nothing would end the group any more.

        Raises:
            RunFailed: The guard ended.
        """
        if self.popen.poll() is not None:
            raise RunFailed("the guard of the child processes ended")


@dataclass(frozen=True)
class Program:
    """Describes a child process.

    Args:
        name: What its log and messages call it.
        command: Command line.
        environment: All of its environment variables.
        directory: Working directory.
        passed: File descriptors that it inherits.
        restarts: Whether it is started again when it ends, as Lambda would do.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    directory: Path = ROOT
    passed: Sequence[int] = ()
    restarts: bool = False


@dataclass(frozen=True)
class _Running:
    program: Program
    popen: "subprocess.Popen[bytes]"
    log: Path
    started_at: float


class Processes:
    """Runs programs in a guard's process group.

    Args:
        logs: Directory of their logs.
        guard: Guard of their group.
        stop_seconds: Seconds from SIGTERM to SIGKILL.
    """

    def __init__(self, logs: Path, guard: Guard, stop_seconds: float) -> None:
        self._logs = logs
        self._guard = guard
        self._stop_seconds = stop_seconds
        self._running: list[_Running] = []

    def start(self, program: Program) -> Path:
        """Start a program, and return the path of its log."""
        program.directory.mkdir(parents=True, exist_ok=True)
        log = self._fresh_log(program.name)
        with log.open("wb") as output:
            popen = subprocess.Popen(
                program.command,
                cwd=program.directory,
                env=program.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=program.passed,
                process_group=self._guard.group,
            )
        self._running.append(_Running(program, popen, log, time.monotonic()))
        return log

    def wait_for(self, name: str, seconds: float) -> None:
        """Wait until a process has ended by itself.

        Raises:
            RunFailed: It ended with an error, or not in time.
        """
        [running] = [running for running in self._running if running.program.name == name]
        try:
            code = running.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise RunFailed(f"{name} isn't done after {seconds} s: see {running.log}") from None
        if code:
            raise RunFailed(crash_message(name, running.log))
        self._running.remove(running)

    def check(self) -> None:
        """Restart what has ended and may be restarted.

        Raises:
            RunFailed: A process ended for good, or the guard.
        """
        self._guard.check()
        for ended in [running for running in self._running if running.popen.poll() is not None]:
            name, lived = ended.program.name, time.monotonic() - ended.started_at
            if not ended.program.restarts or lived < SHORTEST_LIFE_SECONDS:
                raise RunFailed(crash_message(name, ended.log))
            say(f"{name} ended: starting another")
            self._running.remove(ended)
            self.start(ended.program)

    def stop(self) -> None:
        """Terminate all processes, kill those that don't end in time, and wait for them."""
        deadline = time.monotonic() + self._stop_seconds
        for running in self._running:
            running.popen.terminate()
        for running in self._running:
            try:
                running.popen.wait(max(0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                running.popen.kill()
                running.popen.wait()

    def _fresh_log(self, name: str) -> Path:
        """Return the path of a new log; the last run's is kept beside it."""
        self._logs.mkdir(exist_ok=True)
        log = self._logs / f"{name.lower().replace(' ', '-')}.log"
        if log.exists():
            log.replace(log.with_suffix(".previous.log"))
        return log


def crash_message(name: str, log: Path) -> str:
    """Return one line about a process that ended, with the last line that it wrote."""
    lines = log.read_text(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "it wrote nothing")
    return f"{name} ended: {last[:200]} (see {log})"


# ------------------------------------------------------------------ ports


def choose_ports(names: Iterable[str], remembered: Mapping[str, int]) -> dict[str, int]:
    """Return a port for each name: the remembered ports if all are free, with their gRPC ports, else new ones.

    Raises:
        RunFailed: Too few are free.
    """
    wanted = tuple(names)
    if remembered.keys() >= set(wanted) and all(_is_free(remembered[name]) for name in wanted):
        return {name: remembered[name] for name in wanted}
    free = (port for port in random.sample(CANDIDATE_PORTS, len(CANDIDATE_PORTS)) if _is_free(port))
    chosen = dict(zip(wanted, free, strict=False))
    if len(chosen) < len(wanted):
        raise RunFailed(f"the emulators need {len(wanted)} ports from {CANDIDATE_PORTS.start} on, but too few are free")
    return chosen


def listen(host: str, port: int) -> socket.socket:
    """Return a socket bound to the port; connections are refused until it is served.

    Raises:
        OSError: The port is taken, or the address isn't this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def _is_free(port: int) -> bool:
    try:
        listen(LOOPBACK, port).close()
        listen(LOOPBACK, port + GRPC_OFFSET).close()
    except OSError:
        return False
    return True
