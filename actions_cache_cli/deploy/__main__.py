"""The command. Exit code 0: deployed and checked; 1: something failed; 2: it couldn't begin; 130: stopped."""

import argparse
import os
import sys
from collections.abc import Sequence

from actions_cache_cli.deploy.answers import FILE, TABLES, VARIABLES
from actions_cache_cli.deploy.flow import Flow
from actions_cache_cli.deploy.github import GitHub
from actions_cache_cli.deploy.steps import Steps
from actions_cache_cli.deploy.terminal import Terminal
from dev.local.template import ROOT

NAMES = ", ".join([*VARIABLES.values(), *TABLES.values()])
HOW = f"""It asks what it isn't told. Told by the environment ({NAMES}; CONFIG
names a set of answers, YES=1 agrees beforehand), by {FILE}, and by samconfig.toml; docs/deploy.md explains each."""


def main(arguments: Sequence[str] | None = None) -> int:
    argparse.ArgumentParser(prog="deploy", description=__doc__, epilog=HOW).parse_args(arguments)
    terminal = Terminal()
    return Flow(terminal, Steps(terminal.say), ROOT, os.environ, GitHub.from_environment(os.environ)).run()


if __name__ == "__main__":
    sys.exit(main())
