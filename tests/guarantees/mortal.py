"""Workers that die at a chosen call to the outside: before it takes effect, or after it and before its answer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

from dev.services import AllServices


class Died(BaseException):
    """No handler of the product's runs any more: each further call of the dead one dies too."""


@dataclass
class Life:
    calls_left: int | None = None
    """None: it lives on."""
    takes_effect: bool = False
    is_over: bool = False

    def __post_init__(self) -> None:
        self._lock = Lock()

    def call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            if self.is_over:
                raise Died
            if self.calls_left is not None:
                self.calls_left -= 1
                self.is_over = self.calls_left < 0
            dies = self.is_over
        if dies and not self.takes_effect:
            raise Died
        result = method(*args, **kwargs)
        if dies:
            raise Died
        return result

    @contextmanager
    def of(self, calls: int | None, *, takes_effect: bool) -> Iterator[None]:
        """The block dies at call number `calls`, counted from 0."""
        self.calls_left, self.takes_effect, self.is_over = calls, takes_effect, False
        try:
            yield
        except Died:
            pass
        finally:
            self.calls_left, self.is_over = None, False


class Mortal:
    """An adapter whose every call is counted."""

    def __init__(self, adapter: Any, life: Life) -> None:
        self._adapter = adapter
        self._life = life

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._adapter, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._life.call(method, *args, **kwargs)

        return call


def make_mortal(services: AllServices, life: Life) -> None:
    """Before any use case is made of it."""
    for adapter in ("table", "repositories", "bucket", "queue"):
        services.__dict__[adapter] = Mortal(getattr(services, adapter), life)
