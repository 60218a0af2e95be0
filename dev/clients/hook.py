"""The runner's hook (runners/hook.cjs), installed for a job's processes as on a runner."""

import json
import shutil
from pathlib import Path
from typing import Literal

from dev.local.template import ROOT

FILES = (ROOT / "runners" / "hook.cjs", ROOT / "runners" / "hook-requests.cjs")

RUNNERS_OWN = "https://results-receiver.actions.githubusercontent.com/"
"""Where a runner points a job itself."""

Mode = Literal["point", "protect", "fast"]


def install(directory: Path, url: str, **settings: object) -> Path:
    """Copy the hook into a directory, with a hook.json that leads to a server, and return the file to be required.

    Args:
        directory: made if it isn't there.
        url: the server's.
        settings: further ones of hook.json.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for file in FILES:
        shutil.copy(file, directory)
    (directory / "hook.json").write_text(json.dumps({"url": f"{url.rstrip('/')}/", **settings}))
    return directory / FILES[0].name


def hooked(variables: dict[str, str], hook: Path) -> dict[str, str]:
    """Return a job's variables as on a runner with the hook: the runner's own URLs, and one more line of its .env."""
    names = ("ACTIONS_RESULTS_URL", "ACTIONS_CACHE_URL")
    return (
        variables | {name: RUNNERS_OWN for name in names if name in variables} | {"NODE_OPTIONS": f"--require {hook}"}
    )
