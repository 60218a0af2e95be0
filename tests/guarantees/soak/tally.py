"""Keep what clients know and count in all their threads: each entry's state, operations, bytes, violations."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from random import Random
from threading import Lock

MAX_EXAMPLES = 5


class Violation(Exception):
    """Raised when a guarantee didn't hold, with a short kind and the exact observation."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind


@dataclass
class Tally:
    operations: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    violations: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    sources: Counter[str] = field(default_factory=Counter)
    sent_bytes: int = 0
    checked_bytes: int = 0
    _lock: Lock = field(default_factory=Lock)

    @contextmanager
    def operation(self, kind: str) -> Iterator[None]:
        """Count an operation; an exception of the block is counted as a violation, and suppressed."""
        began = time.monotonic()
        try:
            yield
        except Violation as violation:
            self.violated(violation.kind, str(violation))
        except Exception as error:  # noqa: BLE001 - a broken connection, say: none may break here
            self.violated(f"{kind}: {type(error).__name__}", repr(error))
        with self._lock:
            self.operations[kind] += 1
            self.seconds.setdefault(kind, []).append(time.monotonic() - began)

    def violated(self, kind: str, detail: str) -> None:
        with self._lock:
            self.violations[kind] += 1
            examples = self.examples.setdefault(kind, [])
            if len(examples) < MAX_EXAMPLES:
                examples.append(detail[:500])

    def read_from(self, source: str) -> None:
        with self._lock:
            self.sources[source] += 1

    def sent(self, size: int) -> None:
        with self._lock:
            self.sent_bytes += size

    def checked(self, size: int) -> None:
        with self._lock:
            self.checked_bytes += size


HEADER_BYTES = 16
"""Number of digits of the generation, before the pseudo-random rest of the content."""

IDLE_MARGIN_SECONDS = 20
"""Margin for a use that is recorded late, or by another lookup of the same moment."""


class Status(StrEnum):
    ABSENT = "absent"
    CHANGING = "changing"
    PRESENT = "present"


@dataclass(frozen=True, slots=True)
class View:
    """An entry as it was known at one moment."""

    generation: int
    status: Status
    block_sizes: Sequence[int] = ()
    used_at: float = 0


@dataclass
class Slot:
    """One key. A single client saves and removes it; all of them read it."""

    key: str
    _view: View = field(default=View(0, Status.ABSENT))
    _sizes: dict[int, int] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    @property
    def view(self) -> View:
        with self._lock:
            return self._view

    def saving(self, block_sizes: Sequence[int]) -> int:
        """Begin a save, and return the new generation."""
        with self._lock:
            generation = self._view.generation + 1
            self._view = View(generation, Status.CHANGING, block_sizes)
            self._sizes[generation] = sum(block_sizes)
            return generation

    def became(self, status: Status) -> None:
        with self._lock:
            self._view = replace(self._view, status=status, used_at=time.monotonic())

    def was_used(self, generation: int, at: float) -> None:
        with self._lock:
            if self._view.generation == generation:
                self._view = replace(self._view, used_at=max(at, self._view.used_at))

    def content(self, generation: int) -> bytes:
        return content(self.key, generation, self._sizes[generation])


def content(key: str, generation: int, size: int) -> bytes:
    """Return the content of a generation, of at least HEADER_BYTES; no other has the same."""
    return b"%0*d" % (HEADER_BYTES, generation) + Random(f"{key}/{generation}").randbytes(size - HEADER_BYTES)


def must_hit(before: View, after: View, unused_seconds: float) -> bool:
    """Return whether a lookup has to hit.

    Args:
        before: view before the lookup.
        after: view after it.
        unused_seconds: time since the last use after which an entry may be removed.
    """
    idle = time.monotonic() - before.used_at
    return _unchanged(before, after) and before.status is Status.PRESENT and idle < unused_seconds - IDLE_MARGIN_SECONDS


def must_miss(before: View, after: View) -> bool:
    return _unchanged(before, after) and before.status is Status.ABSENT


def _unchanged(before: View, after: View) -> bool:
    return (before.generation, before.status) == (after.generation, after.status)
