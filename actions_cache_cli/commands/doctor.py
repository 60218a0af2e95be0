"""`doctor`: the runner's own check, for who has this command at hand (actions_cache_cli/doctor/)."""

import click

from actions_cache_cli.doctor.__main__ import main


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
    short_help="Say whether a runner's jobs reach the server.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def doctor(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Run actions-cache-doctor with these arguments; `doctor --help` shows them."""
    context.exit(main(arguments))
