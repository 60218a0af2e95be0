"""An execution environment, as Lambda gives a function one: one event at a time, never longer than its timeout."""

import importlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from dev.local.lambda_context import LambdaContext
from dev.local.lifeline import stop_at_end_of
from dev.local.localhost import resolve_names_under_localhost
from dev.local.template import Template

DRAIN_SECONDS = 3
"""What an invocation may take to end by itself once the run stops; then it is interrupted."""

PATIENCE_SECONDS = 15
"""What a function's process may take in all to stop. An interrupted merge waits for the copies in flight, aborts its
upload and releases its claim."""


class Interrupted(Exception):
    """The run stops. A handler takes it for a failure, and leaves things as a failure does."""


class Stop:
    """Tells whether this process is to stop: by SIGTERM, SIGINT or the end of its lifeline."""

    def __init__(self, lifeline: int) -> None:
        self.requested = False
        self._invoking = False
        signal.signal(signal.SIGTERM, self._request)
        signal.signal(signal.SIGINT, self._request)
        signal.signal(signal.SIGALRM, self._interrupt)
        stop_at_end_of(lifeline, PATIENCE_SECONDS)

    def wait(self, seconds: float) -> None:
        """Until then, or until this process is to stop."""
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
    """Calls a function's handler, in the main thread."""

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
        """Returns: the handler's answer. Event and answer pass through JSON, as in Lambda.

        Raises: whatever the handler raises; Interrupted.
        """
        context = LambdaContext(self._function, self._memory_mb, self._timeout_seconds, self._region)
        with self._stop.interrupts(), self._time_limit():
            return json.loads(json.dumps(self._handler(json.loads(json.dumps(event)), context)))

    @contextmanager
    def _time_limit(self) -> Iterator[None]:
        """Lambda ends the whole environment; the supervisor starts another."""
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
