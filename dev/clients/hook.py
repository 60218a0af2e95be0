"""The runner's hook (runners/hook.cjs): install it for a job's processes as on a runner, and count what it will ask."""

import json
import math
import re
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal

from dev.local.template import ROOT

FILES = (ROOT / "runners" / "hook.cjs", ROOT / "runners" / "hook-requests.cjs")

MIB = 1024 * 1024
CONNECTIONS = 8
"""Connections that the hook reads by, unless told otherwise."""

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


@cache
def size_in_hook(name: str) -> int:
    """Return a size in bytes that the hook's source says in MiB, as WINDOW_BYTES."""
    [mebibytes] = re.findall(rf"^const {name} = (\d+) \* MIB\b", FILES[1].read_text(), re.MULTILINE)
    return int(mebibytes) * MIB


def range_bytes(connections: int = CONNECTIONS) -> int:
    """Return the length of the hook's longest ranges."""
    return min(size_in_hook("MAX_RANGE_BYTES"), 2 * size_in_hook("WINDOW_BYTES") // connections)


def ranges(parts: Sequence[int], connections: int = CONNECTIONS, scale: int = 1) -> int:
    """Return how many ranges the hook reads an archive by, if none has to be asked for again.

    They grow at first and shrink at last (`length` in runners/hook-requests.cjs), and none goes beyond its part.

    Args:
        parts: sizes of the parts in bytes; one for a merged archive.
        connections: connections that it reads by.
        scale: number by which all of the hook's own sizes are divided, in tests.
    """
    size, longest = sum(parts), range_bytes(connections) / scale
    count = at = end = 0
    for part in parts:
        end += part
        while at < end:
            length = max(MIB / scale, min(longest, longest * (count + 1) / connections, (size - at) / connections))
            at = min(end, at + math.ceil(length))
            count += 1
    return count
