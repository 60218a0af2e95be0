"""Lambda's part of the local run: which processes run the template's functions, and how a handler is called."""

import importlib
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any
from uuid import uuid4

from dev.local.localhost import resolve_names_under_localhost
from dev.local.options import function_environment
from dev.local.process import Program
from dev.local.resources import Resources
from dev.local.template import Template

DRAIN_SECONDS = 3
"""Seconds in which an invocation may end by itself once the run stops; then it is interrupted."""

STOP_SECONDS = 15
"""Seconds in which a function's process has to stop. An interrupted merge waits for the copies in flight, aborts its
upload and releases its claim."""


@dataclass(frozen=True)
class Functions:
    """Lists the processes: one for all HTTP functions, one for each worker, and one for each schedule.

    Args:
        resources: Resources that the functions use.
        chosen: The user's environment variables.
        endpoints: Variables that say where the emulators are.
    """

    resources: Resources
    chosen: Mapping[str, str]
    endpoints: Mapping[str, str]

    def server(self, listener: int, options: Mapping[str, object] | None = None) -> Program:
        """Return the process for all HTTP functions.

        Args:
            listener: File descriptor of the socket to serve.
            options: Further command-line options.
        """
        [store] = self.resources.template.of_type("AWS::CloudFront::KeyValueStore")
        own = {"listener": listener, "edge-secrets": self.resources.refs[f"{store}.Arn"], **(options or {})}
        return Program("server", _command("dev.local.server", own), self.http_environment(), passed=[listener])

    def http_environment(self) -> dict[str, str]:
        return self._environment(sorted({function for function, _ in self._events("Api")}))

    def workers(self, count: int) -> Iterator[Program]:
        """Yield so many workers for each queue that triggers a function."""
        for function, event in self._events("SQS"):
            source = self.resources.template.functions[function]["Events"][event]["Properties"]["Queue"]
            queue, _ = source["Fn::GetAtt"]
            options = {"event": event, "queue-url": self.resources.refs[queue]}
            for number in range(1, count + 1):
                yield self._triggered(f"merge worker {number}", function, options)

    def schedules(
        self, cleanup_interval_seconds: float, orphans_interval_seconds: float | None = None
    ) -> Iterator[Program]:
        """Yield a process for each schedule.

        Args:
            cleanup_interval_seconds: Interval of a schedule whose rate is a parameter.
            orphans_interval_seconds: Interval of the search for orphans; None for the template's.
        """
        for function, event in self._events("Schedule", "ScheduleV2"):
            properties = self.resources.template.functions[function]["Events"][event]["Properties"]
            expression = self.resources.template.resolve(properties["ScheduleExpression"])
            chosen = orphans_interval_seconds if event == "Orphans" else None
            seconds = chosen or rate_seconds(expression) or cleanup_interval_seconds
            name = f"{function.removesuffix('Function').lower()} {event.lower()}"
            yield self._triggered(name, function, {"event": event, "interval": seconds})

    def custom_resources(self) -> Iterator[Program]:
        """Yield a process for each custom resource, which ends once that is created."""
        for resource, properties in self.resources.template.custom_resources.items():
            function, _ = properties["ServiceToken"]["Fn::GetAtt"]
            yield self._triggered(resource, function, {"resource": resource})

    def _events(self, *types: str) -> Iterator[tuple[str, str]]:
        """Yield the names of function and event of all events of some types."""
        for function, properties in self.resources.template.functions.items():
            for name, event in properties["Events"].items():
                if event["Type"] in types:
                    yield function, name

    def _triggered(self, name: str, function: str, options: Mapping[str, object]) -> Program:
        command = _command("dev.local.triggers", {"function": function, **options})
        return Program(name, command, self._environment([function]), restarts=True)

    def _environment(self, functions: Sequence[str]) -> dict[str, str]:
        return function_environment(self.resources, functions, self.chosen, self.endpoints)


def _command(module: str, options: Mapping[str, object]) -> list[str]:
    return [sys.executable, "-m", module, *(f"--{name}={value}" for name, value in options.items())]


def rate_seconds(expression: object) -> float | None:
    """Return the seconds of a rate such as `rate(1 hour)`; None if a parameter decides: the local run has an option."""
    units = {"minute": 60, "hour": 3600, "day": 86400}
    found = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", str(expression))
    return float(found[1]) * units[found[2]] if found else None


# ------------------------------------------------------------------ in a function's process


class Interrupted(Exception):
    """Raised in a handler when the run stops, so that it leaves things as any failure does."""


class Stop:
    """Tells whether this process has got a signal to stop, and interrupts an invocation that doesn't end in time."""

    def __init__(self) -> None:
        self.requested = False
        self._invoking = False
        signal.signal(signal.SIGTERM, self._request)
        signal.signal(signal.SIGINT, self._request)
        signal.signal(signal.SIGALRM, self._interrupt)

    def wait(self, seconds: float) -> None:
        """Wait for some seconds, or until this process has to stop."""
        until = time.monotonic() + seconds
        while not self.requested and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))

    @contextmanager
    def interrupts(self) -> Iterator[None]:
        self._invoking = True
        try:
            yield
        finally:
            self._invoking = False

    def _request(self, _signal: int, _frame: FrameType | None) -> None:
        if not self.requested:
            self.requested = True
            signal.setitimer(signal.ITIMER_REAL, DRAIN_SECONDS)

    def _interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        if self._invoking:
            raise Interrupted("the run stops")


class Execution:
    """Calls a function's handler as Lambda does: one event at a time, in the main thread, never beyond its timeout."""

    def __init__(self, template: Template, function: str, region: str, stop: Stop) -> None:
        self._function = function
        properties = template.functions[function]
        self._timeout_seconds = template.number(properties["Timeout"])
        self._memory_mb = template.number(properties["MemorySize"])
        self._region = region
        self._stop = stop
        resolve_names_under_localhost()
        module, _, name = properties["Handler"].rpartition(".")
        self._handler = getattr(importlib.import_module(module), name)

    def __call__(self, event: Any) -> Any:
        """Return the handler's result. Event and result pass through JSON, as in Lambda.

        Raises:
            Interrupted: The run stops.
            Exception: The handler raised it.
        """
        context = LambdaContext(self._function, self._memory_mb, self._timeout_seconds, self._region)
        with self._stop.interrupts(), self._time_limit():
            return json.loads(json.dumps(self._handler(json.loads(json.dumps(event)), context)))

    @contextmanager
    def _time_limit(self) -> Iterator[None]:
        """End this process at the timeout, as Lambda ends the execution environment; the supervisor starts another."""
        timer = threading.Timer(self._timeout_seconds, self._time_out)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _time_out(self) -> None:
        print(f"{self._function} timed out after {self._timeout_seconds} s", file=sys.stderr, flush=True)
        os._exit(1)


@dataclass(frozen=True)
class LambdaContext:
    """The context that Lambda hands to a handler beside the event."""

    function_name: str
    memory_limit_in_mb: int
    timeout_seconds: float
    region: str
    function_version: str = "$LATEST"
    aws_request_id: str = field(default_factory=lambda: str(uuid4()))
    started_at: float = field(default_factory=time.monotonic)

    @property
    def invoked_function_arn(self) -> str:
        return f"arn:aws:lambda:{self.region}:{'0' * 12}:function:{self.function_name}"

    @property
    def log_group_name(self) -> str:
        return f"/aws/lambda/{self.function_name}"

    @property
    def log_stream_name(self) -> str:
        return self.function_version

    def get_remaining_time_in_millis(self) -> int:
        left = self.started_at + self.timeout_seconds - time.monotonic()
        return max(0, int(left * 1000))
