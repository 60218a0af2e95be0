"""Examines the hook's own files: where its URL comes from, and who could change it for later jobs."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from actions_cache_cli.doctor.address import NotAUrl, read_address
from actions_cache_cli.doctor.finding import Finding, ok, warning

TITLE = "who may write the hook"
SETTINGS = "hook.json"


@dataclass(frozen=True)
class HookSettings:
    """Holds the settings in the file beside the hook; if that file exists, the variable is ignored."""

    path: Path
    url: str | None
    fault: str | None
    """Reason why the hook ignores the settings; None if it takes them."""


def read_settings(hook: str | None) -> HookSettings | None:
    """Return the settings beside the hook, or None if there is no such file. Raises nothing."""
    if not hook:
        return None
    path = Path(hook).parent / SETTINGS
    try:
        path = _real(Path(hook)).parent / SETTINGS
        path.lstat()
        url = json.loads(path.read_text(encoding="utf-8-sig"))["url"]
    except FileNotFoundError:
        return None if not path.is_symlink() else HookSettings(path, None, "it links to a missing file")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        return HookSettings(path, None, f"it doesn't have a url in JSON ({type(error).__name__})")
    return HookSettings(path, url if isinstance(url, str) else None, url_fault(url))


def url_fault(url: object) -> str | None:
    """Return why the hook refuses this URL, or None if it takes it."""
    try:
        address = read_address(url) if isinstance(url, str) else None
    except NotAUrl as fault:
        return str(fault)
    if address is None:
        return "its url isn't text"
    if not address.is_tls and not address.is_loopback:
        return f"{address.base} isn't https, so the hook sends no job's token there"
    return None


def judge_files(hook: str | None, env: Path | None) -> Finding | None:
    """Judge whether a job could leave code, or another server's name, for later jobs.

    Args:
        hook: the file that NODE_OPTIONS loads.
        env: the runner's `.env`, if there is one.

    Returns:
        None if there is nothing to look at, or ownership means nothing here, as on Windows.
    """
    if os.name != "posix":
        return None
    files = [*([Path(hook), _real(Path(hook)).parent / SETTINGS] if hook else []), *([env] if env else [])]
    seen = [path for path in files if os.path.exists(path)]  # noqa: PTH110 - the other raises for a name too long
    if not seen:
        return None
    faults = [fault for path in seen for fault in _faults(path, is_env=path == env)]
    if not faults:
        return ok(TITLE, f"only root: {', '.join(map(str, seen))}")
    return warning(
        TITLE,
        f"{'; '.join(faults)}. On a runner that is reused, one job could leave code for the secrets of all later ones: "
        "let root own the files and their directories, and nobody else write them (docs/runners.md)",
    )


def _real(path: Path) -> Path:
    """Return where a path leads. Path.resolve raises for links that go round, before Python 3.13."""
    return Path(os.path.realpath(path))


def _faults(path: Path, *, is_env: bool) -> list[str]:
    """Return the faults of the file and of the directories in which somebody could replace it.

    The directory of .env belongs to the runner, which needs it for its work.
    """
    real = _real(path)
    looked_at = [real] if is_env else [real, *real.parents]
    found = []
    for place in dict.fromkeys([*looked_at, *([] if is_env else [path.absolute().parent])]):
        try:
            state = place.stat()
        except OSError:
            continue
        if state.st_uid != 0:
            found.append(f"{place} belongs to user {state.st_uid}")
        elif state.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not (place != real and state.st_mode & stat.S_ISVTX):
            found.append(f"{place} is writable by others than its owner (mode {stat.S_IMODE(state.st_mode):03o})")
    return found
