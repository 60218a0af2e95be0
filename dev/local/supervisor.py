"""`make run`: starts emulators, resources and functions, in this order, watches them, and stops them in the other."""

import contextlib
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from types import FrameType
from typing import NoReturn

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from actions_cache.aws.secrets import parse_tokens
from actions_cache.settings import Settings
from dev.build.release import release_of
from dev.local import emulators
from dev.local.console import Activity, RunFailed, mention, say
from dev.local.emulators import RunningEmulators, disk_shortage
from dev.local.guard import POLL_SECONDS
from dev.local.lambda_runtime import STOP_SECONDS, Functions
from dev.local.options import STARTING, Options, checked_settings, env_file, next_steps, resource_names
from dev.local.process import Guard, Processes, listen
from dev.local.resources import Clients, DeclaredAnew, Resources, create
from dev.local.template import Template

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

START_SECONDS = 60
WATCH_SECONDS = 0.2
LOCK_SECONDS = 30


class StopRequested(BaseException):
    """Raised by a signal, or when the `make` that started this has ended."""


def run() -> NoReturn:
    """Run until a signal says to stop.

    Raises:
        StopRequested: A signal came, and everything it started has ended.
        RunFailed: It couldn't start, or go on, and everything it started has ended.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, _request_stop)
    with ExitStack() as stack:
        try:
            _start_and_watch(stack)
        except OSError as error:
            if error.filename is None:
                raise
            hint = "make it writable, or set LOCAL_DATA_DIR to another directory"
            raise RunFailed(f"{error.filename2 or error.filename}: {error.strerror}; {hint}") from error
        finally:
            _ignore_further_signals()


def _start_and_watch(stack: ExitStack) -> NoReturn:
    parent = os.getppid()
    options, template = Options.read(), Template.load()
    _check_settings(options, template)
    _check_node()
    lock = DataLock(options.data_dir)
    lock.take()
    listener = stack.enter_context(_listen(options))
    _check_disk(options)

    say("starting the emulators ...")
    running = stack.enter_context(
        emulators.started(options.data_dir, options.named, options.credentials, options.region, [lock.processes])
    )
    endpoints = running.endpoints.environment()
    resources = _create_resources(template, endpoints, options.data_dir)

    say("starting the functions ...")
    functions = Functions(resources, {"RELEASE": str(release_of()), **os.environ}, endpoints)
    # Their guard keeps the emulators until they have ended, even when this process is killed.
    guard = stack.enter_context(Guard.started(STOP_SECONDS, hold=[running.guard.keep]))
    processes = Processes(options.data_dir / "logs", guard, STOP_SECONDS)
    stack.callback(processes.stop)
    log = processes.start(functions.server(listener.fileno(), _server_options(options)))
    activity = stack.enter_context(contextlib.closing(Activity(log)))
    listener.close()
    # While the server loads: only uploads and downloads through the edge need it.
    for custom_resource in functions.custom_resources():
        processes.start(custom_resource)
        processes.wait_for(custom_resource.name, START_SECONDS)
    _wait_until_healthy(options.url, running, processes)
    # Only now: they would slow down the server's start.
    for worker in functions.workers(options.local_merge_workers):
        processes.start(worker)
    for schedule in functions.schedules(options.cleanup_interval_seconds, options.orphans_interval_seconds):
        processes.start(schedule)

    stack.enter_context(env_file(options.data_dir / "settings", _settings(functions)))
    stack.enter_context(env_file(options.data_dir / "env", endpoints | _names(functions) | _tokens(resources)))
    stack.callback(lock.stopping)
    stack.callback(say, "stopping ...")
    for line in next_steps(options, os.environ.get("PUBLIC_URL")):
        say(line)
    say(f"ready {options.url}")
    while True:
        running.processes.check()
        processes.check()
        for line in activity.lines():
            mention(line)
        # A SIGKILL of `make` reaches nobody else.
        if "MAKELEVEL" in os.environ and os.getppid() != parent:
            raise StopRequested
        time.sleep(WATCH_SECONDS)


def _request_stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    _ignore_further_signals()
    raise StopRequested


def _ignore_further_signals() -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


class DataLock:
    """Keeps a data directory for one run at a time, by two locks: a run that is over may still save its state.

    `supervisor` is the file descriptor of the lock that the supervisor holds until it begins to stop. `processes` is
    that of a lock which the emulators' guard holds, too: it is free when the last process of the run is gone.
    """

    def __init__(self, data_dir: Path) -> None:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.supervisor = os.open(data_dir / "supervisor.lock", os.O_RDWR | os.O_CREAT, 0o600)
        self.processes = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        self._data_dir = data_dir

    def take(self) -> None:
        """Take both locks; wait for the processes of a run that is over.

        Raises:
            RunFailed: Another run uses the directory, or one that is over doesn't end.
        """
        if not _try_to_lock(self.supervisor):
            raise RunFailed(
                f"another run uses {self._data_dir}: stop it, or give this one a LOCAL_DATA_DIR and PORT of its own"
            )
        deadline = None
        while not _try_to_lock(self.processes):
            if deadline is None:
                say("waiting until the last run has saved its state ...")
                deadline = time.monotonic() + LOCK_SECONDS
            if time.monotonic() > deadline:
                raise RunFailed(f"the last run on {self._data_dir} has processes left after {LOCK_SECONDS} s")
            time.sleep(POLL_SECONDS)

    def stopping(self) -> None:
        """Let the next run wait, instead of failing."""
        fcntl.flock(self.supervisor, fcntl.LOCK_UN)


def _try_to_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# ------------------------------------------------------------------ checks before the start


def _check_settings(options: Options, template: Template) -> None:
    nothing_yet = Resources(template, {}, tables_are_new=False)
    settings = checked_settings(Functions(nothing_yet, os.environ, {}).http_environment())
    if not os.environ.get("TOKEN_CLAIMS"):
        say("TOKEN_CLAIMS is unset, so jobs of every repository are let in, as with TOKEN_CLAIMS=any")
    if settings.verify_tokens:
        return
    if not options.is_loopback:
        raise RunFailed(
            f"HOST={options.host} is refused: tokens' signatures aren't verified, so anybody could read and write. "
            "Use 127.0.0.1, or VERIFY_TOKENS=1 and TOKEN_ISSUERS."
        )
    say("tokens' signatures are NOT verified (VERIFY_TOKENS=1 turns that on): for this machine only")


def _check_node() -> None:
    """Check for Node, which runs the edge's functions (dev/local/edge/runtime.py)."""
    hint = "install Node.js, which runs the edge's functions, or put it first on the PATH"
    try:
        ran = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False, timeout=START_SECONDS)
    except FileNotFoundError:
        raise RunFailed(f"node isn't on the PATH: {hint}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunFailed(f"node can't be run ({error}): {hint}") from error
    if ran.returncode:
        reason = (ran.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise RunFailed(f"node --version ends with {ran.returncode} ({reason[:200]}): {hint}")


def _check_disk(options: Options) -> None:
    if options.named.store is None:
        is_new = not (options.data_dir / "seaweedfs").exists()
        if (shortage := disk_shortage(options.data_dir, is_new=is_new)) is not None:
            raise RunFailed(shortage)


def _listen(options: Options) -> socket.socket:
    try:
        return listen(options.host, options.port)
    except OSError as error:
        raise RunFailed(
            f"port {options.port} of {options.host} can't be used ({error.strerror}): choose another, say PORT=3001"
        ) from error


# ------------------------------------------------------------------ resources and functions


def _create_resources(template: Template, endpoints: dict[str, str], data_dir: Path) -> Resources:
    os.environ.update(endpoints)
    try:
        return create(template, Clients.of(boto3.Session()))
    except (ClientError, BotoCoreError) as error:
        raise RunFailed(f"tables, bucket and queues can't be created: {error}") from error
    except DeclaredAnew as error:
        raise RunFailed(f"{error}: remove the data of the earlier version, {data_dir}") from error


def _server_options(options: Options) -> dict[str, object]:
    own_store = {"store-directory": options.data_dir / "seaweedfs"} if options.named.store is None else {}
    return {"host": options.host, "ready-file": options.data_dir / "env", **own_store}


def _names(functions: Functions) -> dict[str, str]:
    """Return variables with the resources' names, for people who want to look inside."""
    resources = functions.resources
    queues = {
        f"{re.sub('(?<!^)(?=[A-Z])', '_', queue).upper()}_URL": resources.refs[queue]
        for queue in resources.template.of_type("AWS::SQS::Queue")
    }
    return resource_names(resources, functions.http_environment()) | queues


def _settings(functions: Functions) -> dict[str, str]:
    """Return the functions' settings, for the operator's commands; a shell would pass them on to its next run."""
    environment = functions.http_environment()
    return {name: value for name, value in environment.items() if name.lower() in Settings.model_fields}


def _tokens(resources: Resources) -> dict[str, str]:
    """Return the tokens with which people manage this run."""
    secret = boto3.client("secretsmanager").get_secret_value(SecretId=resources.refs["AdminSecret"])
    tokens = parse_tokens(secret["SecretString"])
    return {"ADMIN_TOKEN": tokens.admin, "READ_ONLY_TOKEN": tokens.for_reading}


def _wait_until_healthy(url: str, running: RunningEmulators, processes: Processes) -> None:
    deadline = time.monotonic() + START_SECONDS
    while (reason := _unhealthy(url)) is not None:
        running.processes.check()
        processes.check()
        if time.monotonic() > deadline:
            raise RunFailed(f"GET /health isn't well after {START_SECONDS} s: {reason}")
        time.sleep(POLL_SECONDS)


def _unhealthy(url: str) -> str | None:
    """Return why the server isn't healthy, or None."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:  # noqa: S310 - our own URL
            return None if answer.status == HTTPStatus.OK else str(answer.status)
    except urllib.error.HTTPError as error:
        with contextlib.closing(error):
            body = error.read(3000)
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            # The server is only waiting for the file that this very process is about to write.
            if json.loads(body)["faults"].keys() == {STARTING}:
                return None
        return f"{error.code} {body[:300].decode(errors='replace')}"
    except OSError as error:
        return str(error)
