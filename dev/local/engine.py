"""One engine on its leash."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dev.local.console import RunFailed
from dev.local.logs import fresh_log, obituary
from dev.local.template import ROOT

EXECUTABLES = ROOT / ".tools" / "engines" / "bin"

START_SECONDS = 60
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Engine:
    """How to start an engine, and how to see that it serves.

    Args:
        directory: where it runs and keeps its data.
        is_ready: whether it serves; raises nothing.
        patience_seconds: what a SIGTERM may take until a SIGKILL follows.
        leaves_behind: files outside its directory that are removed after it.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    directory: Path
    is_ready: Callable[[], bool]
    patience_seconds: float
    leaves_behind: Sequence[Path] = field(default=())


def executable(name: str) -> str:
    path = EXECUTABLES / name
    if not path.exists():
        raise RunFailed(f"{path.relative_to(ROOT)} is missing: `make run` installs the engines first")
    return str(path)


def bare_environment(directory: Path) -> dict[str, str]:
    """None of the user's settings, credentials or Python path; temporary files among the engine's own."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(directory), "TMPDIR": str(directory)}


@dataclass(frozen=True)
class RunningEngine:
    engine: Engine
    leash: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(cls, engine: Engine, logs: Path, lifeline: int, hold: Sequence[int]) -> "RunningEngine":
        """Starts it on a leash, tied to a lifeline (`Lifeline.watch`), with a log of its own in `logs`.

        `hold` are file descriptors it keeps open as long as it lives, locks say.
        """
        engine.directory.mkdir(parents=True, exist_ok=True)
        log = fresh_log(logs, engine.name)
        arguments = ["--lifeline", lifeline, "--directory", engine.directory, "--patience", engine.patience_seconds]
        for descriptor in hold:
            arguments += ["--hold", descriptor]
        for path in engine.leaves_behind:
            arguments += ["--remove", path]
        with log.open("wb") as output:
            leash = subprocess.Popen(
                [sys.executable, "-m", "dev.local.leash", *map(str, arguments), "--", *engine.command],
                cwd=ROOT,
                env=engine.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(lifeline, *hold),
                start_new_session=True,
            )
        return cls(engine, leash, log)

    def wait_until_ready(self) -> None:
        """Raises: RunFailed: it ended, or took too long."""
        deadline = time.monotonic() + START_SECONDS
        while not self.engine.is_ready():
            self.check()
            if time.monotonic() > deadline:
                raise RunFailed(f"{self.engine.name} isn't ready after {START_SECONDS} s: see {self.log}")
            time.sleep(POLL_SECONDS)

    def check(self) -> None:
        """Raises: RunFailed: it ended."""
        if self.leash.poll() is not None:
            raise RunFailed(obituary(self.engine.name, self.log))

    def wait_until_gone(self) -> None:
        self.leash.wait()
