"""What the clients of a soak run know about their entries, so that any answer can be judged and no byte is kept."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from random import Random
from threading import Lock

HEADER_BYTES = 16
"""Of the generation, in digits, before the pseudo-random rest."""

IDLE_MARGIN_SECONDS = 20
"""A use is noted late, or by another lookup of the same moment."""


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
        """Returns: the new generation."""
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
    """Of at least HEADER_BYTES; nothing else has the same."""
    return b"%0*d" % (HEADER_BYTES, generation) + Random(f"{key}/{generation}").randbytes(size - HEADER_BYTES)


def must_hit(before: View, after: View, unused_seconds: float) -> bool:
    """Args: before, after: the views around a lookup; unused_seconds: after which an entry may be removed."""
    idle = time.monotonic() - before.used_at
    return _unchanged(before, after) and before.status is Status.PRESENT and idle < unused_seconds - IDLE_MARGIN_SECONDS


def must_miss(before: View, after: View) -> bool:
    return _unchanged(before, after) and before.status is Status.ABSENT


def _unchanged(before: View, after: View) -> bool:
    return (before.generation, before.status) == (after.generation, after.status)
