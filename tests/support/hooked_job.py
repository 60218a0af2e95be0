"""The hook as a runner has it, in a copy of its own, and jobs of the real @actions/cache with it loaded."""

import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dev.clients.actions_cache import ActionsCache
from dev.clients.runtime_token import job_variables
from dev.local.template import ROOT

FILES = ("hook.cjs", "hook-requests.cjs")
RUNNERS = "https://results-receiver.actions.githubusercontent.com/"


def install_hook(directory: Path, url: str, mode: str = "protect", **settings: object) -> Path:
    """Copy the hook's files, and write its settings; return the file that node loads."""
    directory.mkdir(exist_ok=True)
    for name in FILES:
        (directory / name).write_bytes((ROOT / "runners" / name).read_bytes())
    (directory / "hook.json").write_text(json.dumps({"url": url, "mode": mode, **settings}))
    return directory / "hook.cjs"


def shorten(hook: Path, **constants: int) -> None:
    """Change the copy's waiting times, in milliseconds."""
    path = hook.with_name("hook-requests.cjs")
    source = path.read_text()
    for name, value in constants.items():
        source, found = re.subn(rf"^const {name} = [\d_]+", f"const {name} = {value}", source, flags=re.MULTILINE)
        assert found == 1, name
    path.write_text(source)


def action_variables(hook: Path, temporary: Path, **variables: str) -> dict[str, str]:
    """Return what the process of an action has, on a runner with the hook."""
    return {
        "PATH": os.environ["PATH"],
        "RUNNER_TEMP": str(temporary),
        "NODE_OPTIONS": f"--require {hook}",
        **job_variables(RUNNERS.rstrip("/"), "a job's token"),
        **variables,
    }


def run_action(script: str, variables: Mapping[str, str], node: str | Path = "node") -> str:
    """Run a script as an action, and return what it prints; nothing may go to its standard error."""
    ran = subprocess.run(
        [str(node), "-e", script], env=variables, capture_output=True, text=True, check=False, timeout=120
    )
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout + ran.stderr
    return ran.stdout


@dataclass(frozen=True)
class HookedJob(ActionsCache):
    """A job whose `server` is what the runner sets; the hook's settings name ours."""

    hook: Path = Path()
    variables: Mapping[str, str] = field(default_factory=dict)

    def _environment(self) -> dict[str, str]:
        return {**super()._environment(), "NODE_OPTIONS": f"--require {self.hook}", **self.variables}
