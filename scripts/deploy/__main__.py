"""The command. Exit code 0: deployed and checked; 1: something failed; 2: it couldn't begin; 130: stopped."""

import os
import sys

from local.template import ROOT
from scripts.deploy.flow import Flow
from scripts.deploy.github import GitHub
from scripts.deploy.steps import Steps
from scripts.deploy.terminal import Terminal


def main() -> int:
    terminal = Terminal()
    return Flow(terminal, Steps(terminal.say), ROOT, os.environ, GitHub.from_environment(os.environ)).run()


if __name__ == "__main__":
    sys.exit(main())
