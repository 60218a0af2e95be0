"""The command. Exit code 0: tried, good, nothing is left; 1: something is wrong; 2: it couldn't begin; 130: stopped.

Results go to standard output as markdown, all else to standard error.
"""

import argparse
import os
import secrets
import sys
from collections.abc import Sequence

from actions_cache_cli.deploy.aws import AwsRefused, home_region
from actions_cache_cli.deploy.steps import Steps
from actions_cache_cli.deploy.terminal import Terminal
from actions_cache_cli.try_on_aws.flow import CANNOT_START, DONE, FAILED, SIZES, Try
from actions_cache_cli.try_on_aws.report import markdown
from actions_cache_cli.try_on_aws.teardown import PREFIX, NoTry, Sweeper, Teardown

HOW = f"""The environment says how: REGION, MAX_USD (what it may cost at most, 1.00), {", ".join(SIZES)}, ARCHITECTURE,
PARAMETERS, YES=1 to agree beforehand, TRY_SUFFIX for the end of the stack's name."""


def clean(terminal: Terminal, name: str) -> int:
    """Delete what is left of a try."""
    try:
        left = Teardown(Sweeper(os.environ.get("REGION") or home_region()), name, terminal.say).run()
    except NoTry as fault:
        terminal.say(f"error: {fault}")
        return CANNOT_START
    except AwsRefused as fault:
        terminal.say(f"error: {fault}")
        return FAILED
    terminal.say("Nothing is left." if not left else "This is left, and costs money:")
    for one in left:
        terminal.say(f"  {one}")
    return FAILED if left else DONE


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="try_on_aws", description=__doc__, epilog=HOW)
    parser.add_argument(
        "--clean", metavar="NAME", help="delete what is left of the try of that name, and do nothing else"
    )
    options = parser.parse_args(arguments)
    terminal = Terminal(sys.stderr)
    if options.clean:
        return clean(terminal, options.clean)
    name = f"{PREFIX}{os.environ.get('TRY_SUFFIX') or secrets.token_hex(4)}"
    steps = Steps(terminal.say)
    return Try(terminal, steps, os.environ, name, lambda result: print(markdown(result), flush=True)).run()


if __name__ == "__main__":
    sys.exit(main())
