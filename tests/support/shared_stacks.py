"""Starts each stack once for all workers of pytest-xdist: in the controller, which stops them at the end of the run.

A stack takes some 10 s of two cores to start. The controller starts one when the first worker requests it, and the
guards of dev/local/process.py end it with the controller, however that dies. Without workers, the process of the tests
does the same by itself.
"""

from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from threading import Lock, Thread
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

Starter = Callable[Concatenate[Path, P], AbstractContextManager[T]]
"""Starts a stack in a directory. What it yields must be picklable, as URLs are."""


class CannotStart(Exception):
    """Raised when a stack didn't start; the message is the starter's error."""


class RunningStacks:
    """Runs stacks, each in a directory of its own, as children of this process."""

    def __init__(self) -> None:
        self._running: dict[Path, tuple[Any, ExitStack]] = {}
        self._starting: defaultdict[Path, Lock] = defaultdict(Lock)
        self._lock = Lock()

    def start(self, directory: Path, starter: Callable[..., AbstractContextManager[Any]], *args: Any) -> Any:
        """Return what the starter yields. A stack that runs already in the directory isn't started again."""
        with self._lock:
            starting = self._starting[directory]
        with starting:
            if directory not in self._running:
                stack = ExitStack()
                self._running[directory] = stack.enter_context(starter(directory, *args)), stack
            return self._running[directory][0]

    def serve(self) -> str:
        """Start stacks for other processes, too, and return the path of the socket that takes their requests."""
        listener = Listener(family="AF_UNIX")
        Thread(target=self._accept, args=(listener,), daemon=True).start()
        return str(listener.address)

    def stop(self) -> None:
        """Stop all stacks at once, since each of them mostly waits."""
        with ThreadPoolExecutor() as executor:
            for stopping in [executor.submit(stack.close) for _, stack in self._running.values()]:
                stopping.result()
        self._running.clear()

    def _accept(self, listener: Listener) -> None:
        while True:
            Thread(target=self._answer, args=(listener.accept(),), daemon=True).start()

    def _answer(self, connection: "Connection[Any, Any]") -> None:
        # The worker may die meanwhile.
        with connection, suppress(EOFError, OSError):
            request = connection.recv()
            try:
                started = self.start(*request)
            except Exception as error:  # noqa: BLE001 - it fails the worker's tests
                connection.send((None, f"{type(error).__name__}: {error}"))
            else:
                connection.send((started, None))


def request_stack(address: str, *request: Any) -> Any:
    """Have the process that serves at the address start a stack, and return what the starter yields.

    Raises:
        CannotStart: The stack didn't start.
    """
    with Client(address, "AF_UNIX") as connection:
        connection.send(request)
        result, error = connection.recv()
    if error is not None:
        raise CannotStart(error)
    return result


@dataclass(frozen=True)
class SharedStacks:
    """Provides stacks by their names.

    Args:
        directory: Directory of the run's temporary files, the same for all workers.
        start_in: Starts a stack in a directory, or has it started.
    """

    directory: Path
    start_in: Callable[..., Any]

    @classmethod
    def of_controller(cls, address: str, directory: Path) -> "SharedStacks":
        return cls(directory, partial(request_stack, address))

    def directory_of(self, name: str) -> Path:
        """Return the directory of a stack's data and logs."""
        return self.directory / f"stack-{name}"

    def start(self, name: str, starter: Starter[P, T], *args: P.args, **_: P.kwargs) -> T:
        """Return what the starter yields. A stack of this name that runs already isn't started again."""
        started: T = self.start_in(self.directory_of(name), starter, *args)
        return started
