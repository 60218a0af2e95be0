"""Looks at this machine: where the doctor runs, the runner's installation, the hook's files, and node."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actions_cache_cli.doctor.address import NotAUrl, read_address
from actions_cache_cli.doctor.report import Finding, ok, one_line, unknown, warning

# ---------------------------------------------------------------- where this runs

HOST = "on the machine, in no job"
RUN_STEP = "in a run: step"
ACTION = "in a job, with an action's variables"

CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv")
JOB_VARIABLES = ("ACTIONS_RESULTS_URL", "ACTIONS_RUNTIME_TOKEN")

HOW_IN_A_JOB = (
    "a job's variables go to actions and not to run: steps, so run it by actions/github-script: "
    "await exec.exec('python3', ['doctor.pyz'])"
)


@dataclass(frozen=True)
class Place:
    kind: str
    """HOST, RUN_STEP or ACTION."""
    is_container: bool
    is_container_job: bool
    """True if the runner made the container for the job or the action, and so is outside."""


def find_place(variables: Mapping[str, str], *, is_container: bool) -> Place:
    """Tell the place by what the runner sets.

    The runner mounts a container job's work directory at /__w, and a container action's at /github/workspace
    (actions/runner: ContainerInfo and ContainerActionHandler); a runner in a pod has its own.
    """
    if any(variables.get(name) for name in JOB_VARIABLES):
        kind = ACTION
    else:
        kind = RUN_STEP if variables.get("GITHUB_ACTIONS") == "true" else HOST
    workspace = f"{variables.get('GITHUB_WORKSPACE', '')}/"
    made_by_runner = kind != HOST and workspace.startswith(("/__w/", "/github/workspace/"))
    return Place(kind, is_container, made_by_runner)


def is_container() -> bool:
    return any(Path(mark).exists() for mark in CONTAINER_MARKS)


def describe(place: Place) -> Finding:
    title = "where this runs"
    inside = ""
    if place.is_container_job:
        inside = (
            "; in a container that the runner made: the machine's NODE_OPTIONS and the runner's .env don't come in "
            "here (docs/use/runners.md, container jobs)"
        )
    elif place.is_container:
        # A failed connection explains what 127.0.0.1 means in a container; elsewhere it does no harm.
        inside = "; in a container"
    if place.kind == RUN_STEP:
        return unknown(title, f"{place.kind}{inside}; {HOW_IN_A_JOB}")
    if place.kind == HOST:
        return ok(title, f"{place.kind}{inside}; what jobs get is foreseen from the runner's files and variables")
    return ok(title, f"{place.kind}{inside}")


# ---------------------------------------------------------------- the runner's installation

WORKER = Path("bin", "Runner.Worker.dll")

VARIABLE_BYTES = "ACTIONS_RESULTS_URL".encode("utf-16-le")
CUSTOM_BYTES = "CUSTOM_ACTIONS_RESULTS_URL".encode("utf-16-le")
"""Names as a .NET program holds them, in UTF-16, where a plain grep doesn't find them."""

USUAL_PLACES = ("~", "~/actions-runner", "/home/runner", "/actions-runner", "/opt/actions-runner", "/runner")


@dataclass(frozen=True)
class Worker:
    """Describes what Runner.Worker.dll does before it starts an action."""

    overwrites: bool
    """True if it sets ACTIONS_RESULTS_URL; False if that name was replaced in the file."""
    honours_custom: bool
    """True if it then takes CUSTOM_ACTIONS_RESULTS_URL, as falcondev-oss/github-actions-runner does."""


@dataclass(frozen=True)
class Runner:
    directory: Path
    worker: Worker | None
    """Behaviour of the runner's program; None if it can't be read."""
    env: Mapping[str, str]
    """Variables of its .env file."""


def read_worker(content: bytes) -> Worker:
    """Tell what a runner's program does by the texts in its Runner.Worker.dll."""
    own = content.replace(CUSTOM_BYTES, b"")
    return Worker(overwrites=VARIABLE_BYTES in own, honours_custom=CUSTOM_BYTES in content)


def read_env(text: str) -> dict[str, str]:
    """Read .env as the runner does: a line is NAME=VALUE, without quotes or comments (Runner.Listener/Program.cs)."""
    pairs = (line.partition("=") for line in text.splitlines() if line.strip())
    return {name: value for name, equals, value in pairs if name and equals}


def find_runner(variables: Mapping[str, str], given: str | None) -> Runner | None:
    """Return the installation that was named, that runs this job, or that is at a usual place."""
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
    """Return the runner's own node programs, the newest first; in a container job they are mounted at /__e."""
    roots = [Path("/__e")] if runner is None else [runner.directory / "externals", Path("/__e")]
    found = [path for root in roots for path in root.glob("node*/bin/node")]
    return sorted(found, key=lambda path: [int(n) for n in re.findall(r"\d+", path.parent.parent.name)], reverse=True)


# ---------------------------------------------------------------- the hook's files

SETTINGS = "hook.json"
HOOK = "hook.cjs"
REQUESTS = "hook-requests.cjs"
MODES = ("point", "protect", "fast")


@dataclass(frozen=True)
class HookSettings:
    """Holds the settings in the file beside the hook; if that file exists, the variable is ignored."""

    path: Path
    url: str | None
    error: str | None
    """Reason why the hook ignores the settings; None if it takes them."""
    mode: object = "fast"


def hook_of(variables: Mapping[str, str]) -> str | None:
    """Return the file that NODE_OPTIONS loads first."""
    found = re.search(r"(?:--require|-r|--import)[ =](\"[^\"]+\"|\S+)", variables.get("NODE_OPTIONS", ""))
    return found[1].strip('"') if found else None


def read_settings(hook: str | None) -> HookSettings | None:
    """Return the settings beside the hook, or None if there is no such file; it raises nothing."""
    if not hook:
        return None
    path = Path(hook).parent / SETTINGS
    try:
        path = _real(Path(hook)).parent / SETTINGS
        path.lstat()
        said = json.loads(path.read_text(encoding="utf-8-sig"))
        url, mode = said["url"], said.get("mode", "fast")
    except FileNotFoundError:
        return None if not path.is_symlink() else HookSettings(path, None, "it links to a missing file")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return HookSettings(path, None, f"it doesn't have a url in JSON ({type(error).__name__})")
    return HookSettings(path, url if isinstance(url, str) else None, url_error(url), mode)


def url_error(url: object) -> str | None:
    """Return why the hook refuses this URL, or None if it takes it."""
    try:
        address = read_address(url) if isinstance(url, str) else None
    except NotAUrl as error:
        return str(error)
    if address is None:
        return "its url isn't text"
    if not address.is_tls and not address.is_loopback:
        return f"{address.base} isn't https, so the hook sends no job's token there"
    return None


def judge_mode_of_hook(hook: str | None) -> Finding | None:
    """Judge what the project's own hook does beyond pointing jobs at the server; None where there is no such hook."""
    title = "what the hook does"
    if hook is None or not _real(Path(hook)).is_file() or _real(Path(hook)).name != HOOK:
        return None
    settings = read_settings(hook)
    mode = settings.mode if settings else "fast"
    if mode not in MODES:
        return warning(
            title,
            f"mode {mode!r} is unknown, so jobs are only pointed at the server",
            f"write one of {', '.join(MODES)}",
        )
    if mode != MODES[0] and not _real(Path(hook)).with_name(REQUESTS).is_file():
        return warning(
            title,
            f"mode {mode}, but {REQUESTS} isn't beside {hook}, so jobs are only pointed at the server",
            "copy it there",
        )
    return ok(title, f"mode {mode} (docs/use/runners.md, modes)")


def sums_of_hook(hook: str | None) -> dict[str, str]:
    """Return the SHA-256 sums of the hook's files, by name, as far as they can be read."""
    sums: dict[str, str] = {}
    if hook is None or _real(Path(hook)).name != HOOK:
        return sums
    for name in (HOOK, REQUESTS):
        with suppress(OSError):
            sums[name] = hashlib.sha256(_real(Path(hook)).with_name(name).read_bytes()).hexdigest()
    return sums


def judge_files(hook: str | None, env: Path | None) -> Finding | None:
    """Judge whether a job could leave code, or another server's name, for later jobs.

    Args:
        hook: The file that NODE_OPTIONS loads.
        env: The runner's `.env`, if there is one.

    Returns:
        None if there is nothing to look at, or ownership means nothing here, as on Windows.
    """
    title = "who may write the hook"
    if os.name != "posix":
        return None
    beside = [_real(Path(hook)).parent / name for name in (REQUESTS, SETTINGS)] if hook else []
    files = [*([Path(hook)] if hook else []), *beside, *([env] if env else [])]
    seen = [path for path in files if os.path.exists(path)]  # noqa: PTH110 - the other raises for a name too long
    if not seen:
        return None
    errors = [error for path in seen for error in _write_errors(path, is_env=path == env)]
    if not errors:
        return ok(title, f"only root: {', '.join(map(str, seen))}")
    return warning(
        title,
        f"{'; '.join(errors)}. On a runner that is reused, one job could leave code for the secrets of all later ones",
        "let root own the files and their directories, and nobody else write them (docs/use/runners.md)",
    )


def _real(path: Path) -> Path:
    """Return where a path leads. Path.resolve raises for links that go round, before Python 3.13."""
    return Path(os.path.realpath(path))


def _write_errors(path: Path, *, is_env: bool) -> list[str]:
    """Say who else could write the file, or the directories in which somebody could replace it.

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


# ---------------------------------------------------------------- node: what actions see and trust

NODE_SECONDS = 20

_VIEW = """
const seen = ['ACTIONS_RESULTS_URL', 'ACTIONS_CACHE_URL', 'ACTIONS_CACHE_SERVICE_V2']
process.stdout.write(JSON.stringify({version: process.version, seen: seen.map((name) => process.env[name] ?? null)}))
"""

_TLS = """
const [host, port] = process.argv.slice(1)
const show = (view) => { process.stdout.write(JSON.stringify(view)); process.exit() }
const servername = require('net').isIP(host) ? undefined : host
const socket = require('tls').connect({ host, port, servername, rejectUnauthorized: false }, () => {
  const { issuer } = socket.getPeerCertificate()
  const error = socket.authorized ? null : String(socket.authorizationError?.message ?? socket.authorizationError)
  show({ error, issuer: issuer?.CN ?? issuer?.O ?? null })
})
socket.on('error', (error) => show({ error: error.message, issuer: null }))
"""


@dataclass(frozen=True)
class NodeView:
    """Holds the variables as node's processes see them; a hook changes theirs only."""

    version: str
    results_url: str | None
    cache_url: str | None
    service_v2: str | None

    def changed(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return the variables as node's processes have them."""
        seen = {
            "ACTIONS_RESULTS_URL": self.results_url,
            "ACTIONS_CACHE_URL": self.cache_url,
            "ACTIONS_CACHE_SERVICE_V2": self.service_v2,
        }
        kept = {name: value for name, value in variables.items() if name not in seen}
        return {**kept, **{name: value for name, value in seen.items() if value is not None}}


@dataclass(frozen=True)
class TlsView:
    error: str | None
    """Reason why node doesn't trust the host; None if it does."""
    issuer: str | None


class NodeFailed(Exception):
    """Raised when node doesn't start with these variables, so that no action does; the message says why."""


def find_node(own: list[Path], variables: Mapping[str, str]) -> Path | None:
    """Return the first of the runner's own node programs that runs, or else the one on the path."""
    for path in own:
        if shutil.which(str(path)):
            return path
    found = shutil.which("node", path=variables.get("PATH"))
    return Path(found) if found else None


def view_variables(node: Path, variables: Mapping[str, str]) -> NodeView:
    """Return the variables as a node process sees them.

    Raises:
        NodeFailed: Node doesn't start with these variables.
    """
    view = _view(node, _VIEW, [], variables)
    return NodeView(view["version"], *view["seen"])


def view_tls(node: Path, variables: Mapping[str, str], host: str, port: int) -> TlsView:
    """Return whether a node process trusts the host.

    Raises:
        NodeFailed: Node doesn't start with these variables.
    """
    view = _view(node, _TLS, [host, str(port)], variables)
    return TlsView(view["error"], view["issuer"])


def _view(node: Path, script: str, arguments: list[str], variables: Mapping[str, str]) -> dict[str, Any]:
    try:
        ran = subprocess.run(
            [str(node), "-e", script, *arguments],
            env=dict(variables),
            capture_output=True,
            text=True,
            timeout=NODE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NodeFailed(f"{node} can't be run: {error}") from None
    # What a hook prints comes before it, on a line of its own or not.
    start = ran.stdout.rfind('{"')
    try:
        view = json.loads(ran.stdout[start:])
    except ValueError:
        raise NodeFailed(f"{node} ends with {ran.returncode}: {_reason(ran.stderr)}") from None
    if not isinstance(view, dict):
        raise NodeFailed(f"{node} says {one_line(ran.stdout)[:160]}")
    return view


def _reason(stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if "Error" in line or "not allowed" in line] or stderr.splitlines()
    return one_line(lines[0])[:200] if lines else "it gives no reason"
