"""The command. Exit code 0: done, and all is well; 1: trouble was found; 2: nothing could be done, or not all."""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from actions_cache_cli.commands.delete import delete
from actions_cache_cli.commands.dlq import dlq
from actions_cache_cli.commands.doctor import doctor
from actions_cache_cli.commands.listing import list_
from actions_cache_cli.commands.match import match
from actions_cache_cli.commands.reconcile import reconcile
from actions_cache_cli.commands.refused import refused
from actions_cache_cli.commands.usage import usage
from actions_cache_cli.commands.verify import verify
from actions_cache_cli.doctor.report import printable

INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """Operate a serverless-actions-cache.

    Commands work straight on the server's table, bucket and queue, with your AWS credentials and region: --stack NAME
    says which server, --local means the local run. What a command would change it shows, and changes only with --yes.
    """


for command in (delete, dlq, doctor, list_, match, reconcile, refused, usage, verify):
    cli.add_command(command)


@contextmanager
def unlogged() -> Iterator[None]:
    """What the use cases tell a function's log, the commands show."""
    logger = logging.getLogger("actions_cache")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        with unlogged():
            return cli.main(arguments, prog_name="actions-cache", standalone_mode=False) or 0
    except click.UsageError as fault:
        # Click's own quote what was typed, which may have come out of a variable.
        click.UsageError(printable(fault.format_message(), keeps_lines=True), fault.ctx).show()
        return fault.exit_code
    except click.ClickException as fault:
        fault.show()
        return fault.exit_code
    except (click.Abort, KeyboardInterrupt):
        sys.stderr.write("stopped\n")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the lines has read enough; Python would try to flush the rest at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
