"""`make run`: engines, resources, functions, in this order; and their end in the other."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from types import FrameType
from typing import NoReturn

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from actions_cache.aws.secrets import parse_tokens
from actions_cache.settings import Settings
from dev.local import engines, ports
from dev.local.activity import Activity
from dev.local.console import STDERR, RunFailed, mention, say
from dev.local.disk import shortage
from dev.local.engine import POLL_SECONDS
from dev.local.engines import RunningEngines
from dev.local.env_file import STARTING, env_file
from dev.local.environment import resource_names
from dev.local.function_processes import Functions
from dev.local.lifeline import Lifeline
from dev.local.lock import DataLock
from dev.local.next_steps import next_steps
from dev.local.options import Options, checked_settings
from dev.local.processes import FunctionProcesses
from dev.local.release import release_of
from dev.local.resources import Clients, DeclaredAnew, Resources, create
from dev.local.template import Template

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

START_SECONDS = 60
WATCH_SECONDS = 0.2


class StopRequested(BaseException):
    """By a signal, or by the end of the `make` that started this."""


def run() -> NoReturn:
    """Runs until it is told to stop.

    Raises:
        StopRequested: it was told, and everything it started has ended.
        RunFailed: it couldn't start, or go on, and everything it started has ended.
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
    lock = stack.enter_context(DataLock.taken(options.data_dir))
    listener = stack.enter_context(_listen(options))
    _check_disk(options)

    say("starting the engines ...")
    engines_lifeline = stack.enter_context(Lifeline.tied())
    running = stack.enter_context(
        engines.started(
            options.data_dir, engines_lifeline, options.named, options.credentials, options.region, [lock.processes]
        )
    )
    endpoints = running.endpoints.environment()
    resources = _create_resources(template, endpoints, options.data_dir)

    say("starting the functions ...")
    functions_lifeline = stack.enter_context(Lifeline.tied())
    chosen = {"RELEASE": str(release_of()), **os.environ}
    functions = Functions(resources, chosen, endpoints, functions_lifeline.watch)
    # They keep the engines alive, which so end after them, even when this process is killed.
    passed = [functions_lifeline.watch, engines_lifeline.keep, lock.processes]
    processes = FunctionProcesses(options.data_dir / "logs", passed)
    stack.callback(processes.stop)
    with _terminal() as terminal:
        log = processes.start(functions.server(listener.fileno(), terminal, _server_options(options)))
    activity = stack.enter_context(contextlib.closing(Activity(log)))
    listener.close()
    # While the server loads: only uploads and downloads through the edge need it.
    for custom_resource in functions.custom_resources():
        processes.start(custom_resource)
        processes.wait_for(custom_resource.name, START_SECONDS)
    _wait_until_healthy(options.url, running, processes)
    # Only now: while they all load, the server would be the slower.
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
        running.check()
        processes.check()
        for line in activity.lines():
            mention(line)
        # A SIGKILL of `make` reaches nobody else.
        if "MAKELEVEL" in os.environ and os.getppid() != parent:
            raise StopRequested
        time.sleep(WATCH_SECONDS)


@contextlib.contextmanager
def _terminal() -> Iterator[int]:
    """Provide the user's terminal to a process whose own output is its log."""
    terminal = os.dup(STDERR)
    try:
        yield terminal
    finally:
        os.close(terminal)


def _server_options(options: Options) -> dict[str, object]:
    own_store = {"store-directory": options.data_dir / "seaweedfs"} if options.named.store is None else {}
    return {"host": options.host, "ready-file": options.data_dir / "env", **own_store}


def _request_stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    _ignore_further_signals()
    raise StopRequested


def _ignore_further_signals() -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _check_settings(options: Options, template: Template) -> None:
    """Before anything is started, so with resources that stand for themselves."""
    nothing_yet = Resources(template, {}, tables_are_new=False)
    settings = checked_settings(Functions(nothing_yet, os.environ, {}, lifeline=0).http_environment())
    if not os.environ.get("TOKEN_CLAIMS"):
        say("TOKEN_CLAIMS is unset, so jobs of every repository come in, as with TOKEN_CLAIMS=any")
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
    try:
        ran = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False, timeout=START_SECONDS)
    except FileNotFoundError:
        raise RunFailed("node isn't on the PATH: install Node.js, which runs the edge's functions") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunFailed(f"node can't be run ({error}): install Node.js, which runs the edge's functions") from error
    if ran.returncode:
        reason = (ran.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise RunFailed(
            f"node --version ends with {ran.returncode} ({reason[:200]}): install Node.js, or put it first on the PATH"
        )


def _check_disk(options: Options) -> None:
    if options.named.store is None:
        is_new = not (options.data_dir / "seaweedfs").exists()
        if (little := shortage(options.data_dir, is_new=is_new)) is not None:
            raise RunFailed(little)


def _listen(options: Options) -> socket.socket:
    try:
        return ports.listen(options.host, options.port)
    except OSError as error:
        raise RunFailed(
            f"port {options.port} of {options.host} can't be had ({error.strerror}): choose another, PORT=3001 say"
        ) from error


def _create_resources(template: Template, endpoints: dict[str, str], data_dir: Path) -> Resources:
    os.environ.update(endpoints)
    try:
        return create(template, Clients.of(boto3.Session()))
    except (ClientError, BotoCoreError) as error:
        raise RunFailed(f"tables, bucket and queues can't be created: {error}") from error
    except DeclaredAnew as error:
        raise RunFailed(f"{error}: remove the data of the earlier version, {data_dir}") from error


def _names(functions: Functions) -> dict[str, str]:
    """What the resources are called, for people who want to look inside."""
    resources = functions.resources
    queues = {
        f"{re.sub('(?<!^)(?=[A-Z])', '_', queue).upper()}_URL": resources.refs[queue]
        for queue in resources.template.of_type("AWS::SQS::Queue")
    }
    return resource_names(resources, functions.http_environment()) | queues


def _settings(functions: Functions) -> dict[str, str]:
    """What the functions run with, for the operator's commands. Not for a shell: its next run would take them over."""
    environment = functions.http_environment()
    return {name: value for name, value in environment.items() if name.lower() in Settings.model_fields}


def _tokens(resources: Resources) -> dict[str, str]:
    """By which people manage what runs here."""
    secret = boto3.client("secretsmanager").get_secret_value(SecretId=resources.refs["AdminSecret"])
    tokens = parse_tokens(secret["SecretString"])
    return {"ADMIN_TOKEN": tokens.admin, "READ_ONLY_TOKEN": tokens.for_reading}


def _wait_until_healthy(url: str, running: RunningEngines, processes: FunctionProcesses) -> None:
    deadline = time.monotonic() + START_SECONDS
    while (fault := _fault(url)) is not None:
        running.check()
        processes.check()
        if time.monotonic() > deadline:
            raise RunFailed(f"GET /health isn't well after {START_SECONDS} s: {fault}")
        time.sleep(POLL_SECONDS)


def _fault(url: str) -> str | None:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:  # noqa: S310 - our own URL
            return None if answer.status == HTTPStatus.OK else str(answer.status)
    except urllib.error.HTTPError as error:
        with contextlib.closing(error):
            said = error.read(3000)
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            # The server is only waiting for the file that this very process is about to write.
            if json.loads(said)["faults"].keys() == {STARTING}:
                return None
        return f"{error.code} {said[:300].decode(errors='replace')}"
    except OSError as error:
        return str(error)
