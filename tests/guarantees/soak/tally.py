"""What the clients count, from all their threads."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock

MAX_EXAMPLES = 5


class Violation(Exception):
    """A promise didn't hold: a short kind, and what exactly was seen."""

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
        """Counts it; whatever it raises is a violation, and goes no further."""
        began = time.monotonic()
        try:
            yield
        except Violation as violation:
            self.violated(violation.kind, str(violation))
        except Exception as fault:  # noqa: BLE001 - a broken connection, say: none may break here
            self.violated(f"{kind}: {type(fault).__name__}", repr(fault))
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
