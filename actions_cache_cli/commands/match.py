"""`match`: what a key would restore, and why."""

import click

from actions_cache.explain import Question
from actions_cache.http.schemas import ExplanationResponse
from actions_cache_cli.commands.entries import repository_argument
from actions_cache_cli.console import Output, amount, moment
from actions_cache_cli.options import on_server
from actions_cache_cli.services import OperatorServices


@click.command()
@repository_argument
@click.argument("key")
@click.argument("restore_keys", nargs=-1, metavar="[RESTORE_KEY]...")
@click.option(
    "--ref",
    "refs",
    multiple=True,
    required=True,
    help="That the job may read, in full; once for each, in its order: its own, its base, the default branch.",
)
@click.option("--version", help="As clients make it of paths and compression. Default: each that such a key has.")
@on_server
def match(
    server: OperatorServices,
    output: Output,
    *,
    repository: str,
    key: str,
    restore_keys: tuple[str, ...],
    refs: tuple[str, ...],
    version: str | None,
) -> int:
    """Show what a job would restore for a key, and why.

    Asks as a lookup does, without counting as a use: in each ref the key itself, then the newest entry whose key begins
    with it, then with each restore key.

    Exit code: 0 something would be restored, 1 nothing.
    """
    management = server.management
    found = management.find_repository(repository)
    explanation = management.match(Question(found.id, refs, version, key, restore_keys))
    output.rows(
        ("version", "ref", "asked", "key", "found"),
        (
            (
                it.version[:12],
                attempt.scope,
                "the key" if attempt.is_exact else "newest that begins",
                attempt.key,
                attempt.found.name.key if attempt.found else "nothing",
            )
            for it in explanation.matches
            for attempt in it.attempts
        ),
    )
    restores = [it.found for it in explanation.matches if it.found]
    for entry in restores:
        size, saved = amount(entry.size), moment(entry.created_at)
        output.say(f"restores {entry.name.key} of {entry.name.family.scope}: {size}, saved {saved}")
    if not restores:
        output.say("restores nothing")
    output.rows(
        ("key that begins so", "ref", "version"),
        ((it.name.key, it.name.family.scope, it.name.family.version[:12]) for it in explanation.alike),
    )
    output.document(ExplanationResponse.of(explanation).model_dump())
    return 0 if restores else 1
