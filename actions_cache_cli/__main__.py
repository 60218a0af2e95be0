"""The command `actions-cache`.

Exit codes: 0: success. 1: a problem was found, and is left. 2: could not run (the reason is on stderr). 130: Ctrl-C.
141: the pipe was closed.
"""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from actions_cache_cli.completion import completion
from actions_cache_cli.console import ReaderGone
from actions_cache_cli.doctor import VERSION
from actions_cache_cli.doctor.__main__ import main as run_doctor
from actions_cache_cli.doctor.report import printable
from actions_cache_cli.entries import delete, families, list_, match, refused, usage
from actions_cache_cli.terminal import INTERRUPTED, UNREAD, use_aws_region
from actions_cache_cli.upkeep import dlq, reconcile, verify

UNQUOTED = "; a shell takes # for the beginning of a comment: --ref '#118'"


EXAMPLES = """\b
Examples:
  actions-cache usage --stack actions-cache
  actions-cache list acme/app --ref main --local
  actions-cache verify --json"""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}, epilog=EXAMPLES)
@click.version_option(VERSION, message="%(prog)s %(version)s", help="Show the version of this program and exit.")
def cli() -> None:
    """Inspect and repair a serverless-actions-cache.

    The commands work directly on the server's tables, bucket and queue, with your AWS credentials and region. --stack
    NAME (or ACTIONS_CACHE_STACK) says which server, --local means the local run.

    Nothing changes without --yes: you see what would change. --dry-run says the same.

    Exit codes: 0: success. 1: a problem was found, and is left. 2: could not run; the reason is on stderr.
    """


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
    short_help="Say whether a runner's jobs reach the server.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def doctor(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Run actions-cache-doctor with these arguments; `doctor --help` shows them."""
    context.exit(run_doctor(arguments))


for command in (completion, delete, dlq, doctor, families, list_, match, reconcile, refused, usage, verify):
    cli.add_command(command)


@contextmanager
def unlogged() -> Iterator[None]:
    """Silence the log of the use cases, since the commands show the same."""
    logger = logging.getLogger("actions_cache")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def main(arguments: Sequence[str] | None = None) -> int:
    use_aws_region()
    try:
        with unlogged():
            return cli.main(arguments, prog_name="actions-cache", standalone_mode=False) or 0
    except click.UsageError as error:
        # Click's own quote what was typed, which may have come out of a variable.
        message = printable(error.format_message(), keeps_lines=True)
        if isinstance(error, click.BadOptionUsage) and error.option_name == "--ref":
            message = f"{message.rstrip('.')}{UNQUOTED}"
        click.UsageError(message, error.ctx).show()
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        sys.stderr.write("stopped\n")
        return INTERRUPTED
    except (BrokenPipeError, ReaderGone):
        # Whoever read the lines has read enough; Python would try to flush the rest at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD


if __name__ == "__main__":
    sys.exit(main())
