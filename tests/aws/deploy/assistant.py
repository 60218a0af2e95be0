"""Run `make deploy` with its answers kept elsewhere: `python -m tests.aws.deploy.assistant DIRECTORY TEMPLATE`."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from actions_cache_cli.deploy.__main__ import Flow
from actions_cache_cli.deploy.answers import GitHub
from actions_cache_cli.deploy.steps import Steps
from actions_cache_cli.terminal import Terminal
from tests.aws.deploy.stack import EMULATED, Stack


@dataclass(frozen=True)
class WithTemplate(Steps):
    """Steps that deploy a template of which the emulator can do everything."""

    template: Path = EMULATED

    def build(self, architecture: str) -> None:
        super().build(architecture)
        Stack.write_template()

    def built_template(self, architecture: str) -> Path:
        return self.template


def with_template(terminal: Terminal, template: Path, build: Sequence[str]) -> Steps:
    """Return steps that deploy the template.

    Args:
        terminal: Where they say how far they are.
        template: The template.
        build: The command that builds; empty for the real one.
    """
    if build:
        return WithTemplate(terminal.say, build_command=build, template=template)
    return WithTemplate(terminal.say, template=template)


if __name__ == "__main__":
    terminal = Terminal()
    steps = with_template(terminal, Path(sys.argv[2]), sys.argv[3:])
    sys.exit(Flow(terminal, steps, Path(sys.argv[1]), os.environ, GitHub.from_environment(os.environ)).run())
