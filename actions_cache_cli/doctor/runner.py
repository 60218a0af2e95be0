"""A runner's installation on this machine: what its .env gives jobs, and what its program does with the variable."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

WORKER = Path("bin", "Runner.Worker.dll")

VARIABLE = "ACTIONS_RESULTS_URL".encode("utf-16-le")
CUSTOM = "CUSTOM_ACTIONS_RESULTS_URL".encode("utf-16-le")
"""A .NET program holds its texts in UTF-16, where a plain grep doesn't find them."""

USUAL_PLACES = ("~", "~/actions-runner", "/home/runner", "/actions-runner", "/opt/actions-runner", "/runner")


@dataclass(frozen=True)
class Worker:
    """What Runner.Worker.dll does before it starts an action."""

    overwrites: bool
    """True if it sets ACTIONS_RESULTS_URL; False where that name was replaced in the file."""
    honours_custom: bool
    """True if it then takes CUSTOM_ACTIONS_RESULTS_URL, as falcondev-oss/github-actions-runner does."""


@dataclass(frozen=True)
class Runner:
    directory: Path
    worker: Worker | None
    """None where its program can't be read."""
    env: Mapping[str, str]
    """Of its .env file."""


def read_worker(content: bytes) -> Worker:
    """Args: content: of Runner.Worker.dll."""
    own = content.replace(CUSTOM, b"")
    return Worker(overwrites=VARIABLE in own, honours_custom=CUSTOM in content)


def read_env(text: str) -> dict[str, str]:
    """As the runner reads .env: a line is NAME=VALUE, with no quotes and no comments (Runner.Listener/Program.cs)."""
    pairs = (line.partition("=") for line in text.splitlines() if line.strip())
    return {name: value for name, equals, value in pairs if name and equals}


def find_runner(variables: Mapping[str, str], given: str | None) -> Runner | None:
    """The installation that was named, or that runs this job, or that is at a usual place."""
    for directory in [Path(given)] if given else _candidates(variables):
        worker, env = directory / WORKER, directory / ".env"
        try:
            if given or worker.is_file():
                return Runner(directory, _worker_at(worker), read_env(_text_at(env)))
        except OSError:
            # Another user's home.
            continue
    return None


def _candidates(variables: Mapping[str, str]) -> Sequence[Path]:
    own = []
    if variables.get("RUNNER_TEMP"):
        # <runner>/_work/_temp, unless the work directory was put elsewhere.
        own = [Path(variables["RUNNER_TEMP"]).parent.parent]
    return [*own, Path.cwd(), *(Path(place).expanduser() for place in USUAL_PLACES)]


def _worker_at(path: Path) -> Worker | None:
    try:
        return read_worker(path.read_bytes())
    except OSError:
        return None


def _text_at(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def node_programs(runner: Runner | None) -> list[Path]:
    """Those that the runner starts actions with, the newest first; in a container job they are mounted at /__e."""
    roots = [Path("/__e")] if runner is None else [runner.directory / "externals", Path("/__e")]
    found = [path for root in roots for path in root.glob("node*/bin/node")]
    return sorted(found, key=lambda path: [int(n) for n in re.findall(r"\d+", path.parent.parent.name)], reverse=True)
