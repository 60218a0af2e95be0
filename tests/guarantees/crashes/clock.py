"""One clock for all processes of a scenario: the machine's, moved ahead by what stands in a file."""

import time
from dataclasses import dataclass
from pathlib import Path

from actions_cache.domain.timing import SECOND, Millis


@dataclass(frozen=True)
class MovedClock:
    """See ports.Clock. Args: moved: the file, which holds milliseconds."""

    moved: Path

    def now(self) -> Millis:
        return time.time_ns() // 1_000_000 + int(self.moved.read_text())

    def advance(self, seconds: float) -> None:
        ahead = int(self.moved.read_text()) + int(seconds * SECOND)
        # Whole at every moment, since others read it.
        following = self.moved.with_suffix(".next")
        following.write_text(str(ahead))
        following.replace(self.moved)
