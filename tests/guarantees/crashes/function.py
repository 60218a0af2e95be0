"""Runs a function's process as the local run starts it, with a clock that a scenario moves.

Takes the module that the local run would start, and passes its options on.
"""

import argparse
import importlib
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import dev  # noqa: F401 - puts the core's packages on the path
from actions_cache.domain.timing import SECOND, Millis
from actions_cache.system import SystemClock


@dataclass(frozen=True)
class MovedClock:
    """Is the machine's clock, moved ahead by the milliseconds in a file, which all processes of a scenario share."""

    moved: Path

    def now(self) -> Millis:
        return time.time_ns() // 1_000_000 + int(self.moved.read_text())

    def advance(self, seconds: float) -> None:
        ahead = int(self.moved.read_text()) + int(seconds * SECOND)
        # Replaced at once, since others read it meanwhile.
        following = self.moved.with_suffix(".next")
        following.write_text(str(ahead))
        following.replace(self.moved)


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.guarantees.crashes.function")
    parser.add_argument("--clock", type=Path, required=True, help="file of a MovedClock")
    parser.add_argument("--module", required=True)
    options, others = parser.parse_known_args()
    clock = MovedClock(options.clock)
    setattr(SystemClock, "now", lambda _: clock.now())  # noqa: B010 - a method
    sys.argv = [options.module, *others]
    importlib.import_module(options.module).main()


if __name__ == "__main__":
    main()
