"""`make deploy` with its answers kept elsewhere: `python -m tests.deploy.assistant DIRECTORY TEMPLATE [BUILD ...]`."""

import os
import sys
from pathlib import Path

from scripts.deploy.flow import Flow
from scripts.deploy.github import GitHub
from scripts.deploy.steps import Steps
from scripts.deploy.terminal import Terminal
from tests.deploy.stack import Stack


class WithTemplate(Steps):
    """Deploys a template that the emulator can do all of."""

    def build(self, architecture: str) -> None:
        super().build(architecture)
        Stack.write_template()

    def built_template(self, architecture: str) -> Path:
        return Path(sys.argv[2])


if __name__ == "__main__":
    terminal = Terminal()
    build = {"build_command": sys.argv[3:]} if sys.argv[3:] else {}
    steps = WithTemplate(terminal.say, **build)
    sys.exit(Flow(terminal, steps, Path(sys.argv[1]), os.environ, GitHub.from_environment(os.environ)).run())
