"""The real sccache, in front of the machine's C compiler, as a job's steps use it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

BINARY = Path(sys.executable).with_name("sccache")
PROJECT = Path(__file__).with_name("c_project")

CONTROL_SECONDS = 60
"""Timeout of the daemon's start, which tries a read and a write, and of its stop."""


def compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


class Stats(NamedTuple):
    """Counts of one daemon since it was started."""

    hits: int
    misses: int
    written: int
    errors: int
    """Number of reads and writes that failed or timed out."""


@dataclass(frozen=True)
class Sccache:
    """The sccache of one job, with a daemon of its own that keeps nothing.

    Args:
        workspace: an empty directory; the project is built in it.
        variables: the address of the cache and the token.
    """

    workspace: Path
    variables: dict[str, str]

    def build(self) -> Path:
        """Compile the project's files through sccache, link them, and return the program's path.

        Raises:
            CalledProcessError: a command failed.
        """
        sources = self.workspace / "src"
        shutil.copytree(PROJECT, sources)
        for file in sorted(sources.glob("*.c")):
            self._run(
                compiler() or "cc", "-O2", "-Wall", "-Werror", "-c", file.name, "-o", f"{file.stem}.o", cwd=sources
            )
        program = sources / "sums"
        objects = [path.name for path in sorted(sources.glob("*.o"))]
        subprocess.run([compiler() or "cc", *objects, "-o", str(program)], cwd=sources, check=True)
        return program

    def stats(self) -> Stats:
        counted = json.loads(self._run("--show-stats", "--stats-format=json"))["stats"]
        return Stats(
            hits=sum(counted["cache_hits"]["counts"].values()),
            misses=sum(counted["cache_misses"]["counts"].values()),
            written=counted["cache_writes"],
            errors=counted["cache_read_errors"] + counted["cache_write_errors"] + counted["cache_timeouts"],
        )

    def _run(self, *arguments: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            [BINARY, *arguments],
            cwd=cwd or self.workspace,
            env=self.variables,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout


@contextmanager
def running_sccache(workspace: Path, service: dict[str, str]) -> Iterator[Sccache]:
    """Start the daemon, which refuses to when it can't use the cache, and stop it after the block.

    Raises:
        CalledProcessError: it didn't start.
    """
    with TemporaryDirectory() as short_path:  # a socket's has at most 107 bytes
        variables = {
            **service,
            "PATH": os.environ["PATH"],
            "HOME": str(workspace),
            "SCCACHE_GHA_ENABLED": "on",
            "SCCACHE_SERVER_UDS": f"{short_path}/sccache",
        }
        control = partial(subprocess.run, cwd=workspace, env=variables, capture_output=True, timeout=CONTROL_SECONDS)
        control([BINARY, "--start-server"], check=True)
        try:
            yield Sccache(workspace, variables)
        finally:
            control([BINARY, "--stop-server"], check=False)
