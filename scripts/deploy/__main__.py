"""The command. Exit code 0: deployed and checked; 1: something failed; 2: it couldn't begin; 130: stopped."""

import argparse
import os
import sys
from collections.abc import Sequence

from local.template import ROOT
from scripts.deploy.answers import FILE, TABLES, VARIABLES
from scripts.deploy.flow import Flow
from scripts.deploy.github import GitHub
from scripts.deploy.steps import Steps
from scripts.deploy.terminal import Terminal

NAMES = ", ".join([*VARIABLES.values(), *TABLES.values()])
HOW = f"""It asks what it isn't told. Told by the environment ({NAMES}; CONFIG
names a set of answers, YES=1 agrees beforehand), by {FILE}, and by samconfig.toml; docs/deploy.md explains each."""


def main(arguments: Sequence[str] | None = None) -> int:
    argparse.ArgumentParser(prog="deploy", description=__doc__, epilog=HOW).parse_args(arguments)
    terminal = Terminal()
    return Flow(terminal, Steps(terminal.say), ROOT, os.environ, GitHub.from_environment(os.environ)).run()


if __name__ == "__main__":
    sys.exit(main())
