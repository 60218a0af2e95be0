"""Downloads by the real client's own function in a process that has loaded the hook (hooked_downloads.mjs)."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dev.clients.hook import size_in_hook
from dev.local.template import ROOT
from tests.support.scripted_store import Archive, ScriptedStore

DRIVER: Final = Path(__file__).with_suffix(".mjs")
CLIENTS: Final = ROOT / "dev" / "clients" / "node_modules" / "@actions"
VERSIONS: Final = ("cache", "cache-5", "cache-4", "cache-3")

SCALE: Final = 64
"""By which an archive is smaller here, and all that the hook measures it by."""
MIB: Final = 1024 * 1024 // SCALE
MIN_BYTES: Final = size_in_hook("MIN_BYTES") // SCALE
WINDOW_BYTES: Final = size_in_hook("WINDOW_BYTES") // SCALE


@dataclass(frozen=True)
class Result:
    bytes: int | None = None
    sha256: str | None = None
    error: str | None = None
    milliseconds: float = 0


@dataclass(frozen=True)
class Run:
    """What became of one process's downloads."""

    results: Mapping[str, Result]
    unhandled: Sequence[str]
    """Exceptions that nobody caught."""
    left: Sequence[str]
    """Timers and connections that would have kept the process from ending."""
    most_memory: int
    """Most bytes that it had resident."""
    log: str


def install_hook(directory: Path, server: str, *, scale: int = SCALE, **settings: Any) -> Path:
    """Copy the hook beside its settings, with sizes that are `scale` times smaller, and return its path."""
    directory.mkdir()
    shutil.copy(ROOT / "runners" / "hook.cjs", directory)
    source = (ROOT / "runners" / "hook-requests.cjs").read_text()
    for whole, scaled in (
        ("const MIB = 1024 * 1024\n", f"const MIB = {1024 * 1024 // scale}\n"),
        ("const MAX_ANSWER_BYTES = MIB ", f"const MAX_ANSWER_BYTES = {1024 * 1024} "),
    ):
        assert source.count(whole) == 1, whole
        source = source.replace(whole, scaled)
    (directory / "hook-requests.cjs").write_text(source)
    (directory / "hook.json").write_text(json.dumps({"url": server, "mode": "fast", **settings}))
    return directory / "hook.cjs"


def run_downloads(
    directory: Path,
    store: ScriptedStore,
    by: Mapping[str, str],
    *,
    at_once: int = 12,
    hook: Path | None,
    environment: Mapping[str, str] | None = None,
) -> Run:
    """Download archives in one process.

    Args:
        directory: for the files.
        store: has them.
        by: the reader of each: a version of the client, or one of the driver's own.
        at_once: how many are read side by side.
        hook: None for the plain client.
        environment: further variables.
    """
    directory.mkdir(exist_ok=True)
    given = {
        "server": store.url,
        "modules": {version: str(CLIENTS / version / "lib" / "internal" / "downloadUtils.js") for version in VERSIONS},
        "directory": str(directory),
        "at_once": at_once,
        "cases": [{"name": name, "by": reader} for name, reader in by.items()],
    }
    cases, results = directory / "cases.json", directory / "results.json"
    cases.write_text(json.dumps(given))
    ran = subprocess.run(
        ["node", str(DRIVER), str(cases), str(results)],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "RUNNER_TEMP": str(directory),
            "ACTIONS_RUNTIME_TOKEN": "token",
            "ACTIONS_RESULTS_URL": "https://results.example.com/" if hook else store.url,
            **({"NODE_OPTIONS": f"--require {hook}"} if hook else {}),
            **(environment or {}),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    got = json.loads(results.read_text())
    by_name = {name: Result(**result) for name, result in got["results"].items()}
    return Run(by_name, got["unhandled"], got["left"], got["most"], ran.stdout)


def is_whole(archive: Archive, result: Result) -> bool:
    return (result.bytes, result.sha256) == (archive.size, archive.digest)
