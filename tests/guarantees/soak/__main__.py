"""`make soak SECONDS=900 CLIENTS=32`. Exit code 0 when nothing was violated, 1 otherwise."""

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console

import dev  # noqa: F401 - puts the core's packages on the path
from tests.guarantees.soak.report import show
from tests.guarantees.soak.run import soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.guarantees.soak")
    parser.add_argument("--seconds", type=float, default=900, help="of work; three minutes of waiting follow")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        found = soak(Path(directory), options.seconds, options.clients, options.seed)
    show(found, Console(width=110))
    return 1 if found.violations else 0


if __name__ == "__main__":
    sys.exit(main())
