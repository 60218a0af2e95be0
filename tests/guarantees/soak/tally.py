"""Keep what clients know and count in all their threads: each entry's state, operations, bytes, violations."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
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
    seconds: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Duration of each operation."""
    violations: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    """Bytes sent and checked, and where they were read from."""
    _lock: Lock = field(default_factory=Lock)

    @contextmanager
    def operation(self, kind: str) -> Iterator[None]:
        """Count an operation; an exception of the block is counted as a violation, and suppressed."""
        began = time.monotonic()
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a broken connection, say: none may break here
            violated = error.kind if isinstance(error, Violation) else f"{kind}: {type(error).__name__}"
            with self._lock:
                self.violations[violated] += 1
                if self.violations[violated] <= MAX_EXAMPLES:
                    self.examples.append(f"{violated}: {error!r}"[:500])
        with self._lock:
            self.seconds[kind].append(time.monotonic() - began)

    def count(self, what: str, number: int = 1) -> None:
        with self._lock:
            self.counts[what] += number


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
    used_at: float = 0

    def must_hit(self, after: "View", unused_seconds: float) -> bool:
        """Return whether a lookup between these views has to hit: an entry may expire after this many seconds."""
        is_used = time.monotonic() - self.used_at < unused_seconds - IDLE_MARGIN_SECONDS
        return self._is_same(after) and self.status is Status.PRESENT and is_used

    def must_miss(self, after: "View") -> bool:
        return self._is_same(after) and self.status is Status.ABSENT

    def _is_same(self, after: "View") -> bool:
        return (self.generation, self.status) == (after.generation, after.status)


@dataclass
class Slot:
    """One key. A single client saves and removes it; all of them read it."""

    key: str
    view: View = field(default=View(0, Status.ABSENT))
    _sizes: dict[int, int] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def saving(self, size: int) -> bytes:
        """Begin a save, and return the content of the new generation."""
        with self._lock:
            self.view = View(self.view.generation + 1, Status.CHANGING)
            self._sizes[self.view.generation] = size
        return self.content(self.view.generation)

    def became(self, status: Status) -> None:
        with self._lock:
            self.view = replace(self.view, status=status, used_at=time.monotonic())

    def was_used(self, generation: int, at: float) -> None:
        with self._lock:
            if self.view.generation == generation:
                self.view = replace(self.view, used_at=max(at, self.view.used_at))

    def content(self, generation: int) -> bytes:
        """Return the content of a generation, of at least HEADER_BYTES; no other has the same."""
        rest = Random(f"{self.key}/{generation}").randbytes(self._sizes[generation] - HEADER_BYTES)
        return b"%0*d" % (HEADER_BYTES, generation) + rest
