"""What commands have in common: which server, JSON, and whether anything may change."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

from actions_cache.domain.errors import CacheError
from actions_cache.ports import Unavailable
from actions_cache_cli.console import CommandFailed, Output
from actions_cache_cli.target import connect

Command = Callable[..., int]
"""Takes the server and the output first. Returns the exit code."""

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def on_server(command: Command) -> Callable[..., None]:
    """Gives a command its server, by --stack or --local, and --json."""

    @click.option("--stack", envvar="ACTIONS_CACHE_STACK", metavar="NAME", help="CloudFormation's name of the server.")
    @click.option("--local", is_flag=True, help="The local run, `make run`; its data in LOCAL_DATA_DIR, or .local.")
    @click.option("--json", "as_json", is_flag=True, help="One JSON document instead of lines.")
    @wraps(command)
    def on(*, stack: str | None, local: bool, as_json: bool, **options: Any) -> None:
        try:
            code = command(connect(stack, local=local), Output(as_json), **options)
        except Unavailable as fault:
            raise CommandFailed(f"AWS doesn't answer as it should: {fault}") from fault
        except CacheError as fault:
            raise CommandFailed(str(fault)) from fault
        click.get_current_context().exit(code)

    return on


def changes(what: str) -> Callable[[Decorated], Decorated]:
    """Args: what: does --yes do."""
    return click.option("--yes", is_flag=True, help=f"{what} Without it nothing changes: you see what would.")
