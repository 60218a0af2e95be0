"""Implements `refused`, which lists the jobs that TOKEN_CLAIMS keeps out and the values it lacks for them."""

import click

from actions_cache.http.schemas import RefusedTokensResponse
from actions_cache_cli.console import Output, counted, moment
from actions_cache_cli.options import on_server
from actions_cache_cli.services import OperatorServices


@click.command()
@on_server
def refused(server: OperatorServices, output: Output) -> int:
    """Show the jobs that were refused in the last seven days, the last one first.

    Their tokens were good, but TOKEN_CLAIMS (the parameter TokenClaims) names other jobs. Any value of the last column,
    added to it, admits such jobs. Any job on github.com can get onto this list, under any repository name, so add only
    what you know. The list has room for 64 repositories, so strangers can hide others; the log has all of them.
    """
    found = server.management.list_refused()
    output.rows(
        ("last", "times", "repository", "id", "owner", "issuer", "to let it in, add"),
        (
            (
                moment(it.last_at),
                str(it.times),
                it.job.repository or "",
                it.job.repository_id,
                it.job.owner or it.job.owner_id or "",
                it.job.issuer,
                " or ".join(it.job.to_admit),
            )
            for it in found
        ),
    )
    output.say(f"jobs of {counted(len(found), 'repository', 'repositories')} were refused")
    output.document(RefusedTokensResponse.of(found).model_dump())
    return 0
