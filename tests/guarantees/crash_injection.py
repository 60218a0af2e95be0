"""Adapters that crash their caller at a chosen call: before it takes effect, or after it and before its answer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

from dev.clients.driver import CacheDriver, SetClock
from dev.services import AllServices


class Crashed(BaseException):
    """Raised by each call of a crashed process, so that no handler of the product gets anything done any more."""


@dataclass
class Crashes:
    """Counts the calls of a simulated process."""

    calls_left: int | None = None
    """None if the process never crashes."""
    takes_effect: bool = False
    has_crashed: bool = False

    def __post_init__(self) -> None:
        self._lock = Lock()

    def call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            if self.has_crashed:
                raise Crashed
            if self.calls_left is not None:
                self.calls_left -= 1
                self.has_crashed = self.calls_left < 0
            crashes = self.has_crashed
        if crashes and not self.takes_effect:
            raise Crashed
        result = method(*args, **kwargs)
        if crashes:
            raise Crashed
        return result

    def crash(self) -> None:
        self.has_crashed = True
        raise Crashed

    @contextmanager
    def at(self, call: int | None, *, takes_effect: bool = False) -> Iterator[None]:
        """Crash the block at this call, counted from 0, and end it quietly."""
        self.calls_left, self.takes_effect, self.has_crashed = call, takes_effect, False
        try:
            yield
        except Crashed:
            pass
        finally:
            self.calls_left, self.has_crashed = None, False


class CrashingAdapter:
    def __init__(self, adapter: Any, crashes: Crashes) -> None:
        self._adapter = adapter
        self._crashes = crashes

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._adapter, name)
        if name.startswith("_"):
            return method  # what tests look at is no call

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._crashes.call(method, *args, **kwargs)

        return call


def crashing(known: CacheDriver) -> tuple[CacheDriver, Crashes]:
    """Return a driver with the same resources, and what crashes its use cases at their calls."""
    clock, crashes = SetClock(), Crashes()
    services = AllServices(known.services.settings, clock)
    services.session = known.services.session
    for adapter in ("table", "repositories", "bucket", "queue"):
        services.__dict__[adapter] = CrashingAdapter(getattr(services, adapter), crashes)
    return replace(known, services=services, clock=clock), crashes
