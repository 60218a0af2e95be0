"""`make try-on-aws` against the emulator: `python -m tests.aws.deploy.rehearsal TEMPLATE RESULT [BUILD ...]`."""

import os
import sys
from pathlib import Path

from actions_cache_cli.terminal import Terminal
from actions_cache_cli.try_on_aws.__main__ import Try
from actions_cache_cli.try_on_aws.report import Result, markdown
from actions_cache_cli.try_on_aws.throwaway import PREFIX
from tests.aws.deploy.assistant import with_template

if __name__ == "__main__":
    template, result, build = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    terminal = Terminal(sys.stderr)
    steps = with_template(terminal, template, build)
    name = f"{PREFIX}{os.environ['TRY_SUFFIX']}"

    def publish(found: Result) -> None:
        result.write_text(markdown(found))

    sys.exit(Try(terminal, steps, os.environ, name, publish).run())
