"""Reads a checkout's release: the version in pyproject.toml and git's commit. Needs nothing but Python."""

import subprocess
import tomllib
from pathlib import Path

from actions_cache.release import UNKNOWN, Release

ROOT = Path(__file__).parents[2]
COMMIT_DIGITS = 12


def release_of(checkout: Path = ROOT) -> Release:
    """Return the release of a checkout."""
    with (checkout / "pyproject.toml").open("rb") as file:
        version = str(tomllib.load(file)["project"]["version"])
    return Release(version, _commit(checkout))


def _commit(checkout: Path) -> str:
    """Return the commit, or UNKNOWN where the checkout isn't a repository of its own, or there is no git."""
    try:
        top = _git(checkout, "rev-parse", "--show-toplevel")
        if Path(top).resolve() != checkout.resolve():
            return UNKNOWN
        commit = _git(checkout, "rev-parse", f"--short={COMMIT_DIGITS}", "HEAD")
        return f"{commit}.changed" if _git(checkout, "status", "--porcelain") else commit
    except (OSError, subprocess.SubprocessError):
        return UNKNOWN


def _git(checkout: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(checkout), *arguments], check=True, capture_output=True, text=True, timeout=10
    ).stdout.strip()
