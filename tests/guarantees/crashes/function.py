"""Run a function's process as the local run starts it, by the scenario's clock.

Takes the module that the local run would start, and passes its options on.
"""

import argparse
import importlib
import sys
from pathlib import Path

import dev  # noqa: F401 - puts the core's packages on the path
from actions_cache.system import SystemClock
from tests.guarantees.crashes.clock import MovedClock


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
