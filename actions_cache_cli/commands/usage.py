"""`usage`: what repositories keep, beside what they may keep."""

import click

from actions_cache.http.schemas import RepositoriesResponse, RepositoryResponse
from actions_cache.usage import Overview, RepositoryUsage
from actions_cache_cli.console import Output, amount, counted, moment
from actions_cache_cli.options import on_server
from actions_cache_cli.services import OperatorServices


@click.command()
@click.argument("repository", required=False)
@on_server
def usage(server: OperatorServices, output: Output, *, repository: str | None) -> int:
    """Show what repositories keep, the largest first.

    Held against the budgets that are set (REPOSITORY_BUDGET_BYTES, STORE_BUDGET_BYTES). What is being uploaded doesn't
    count, nor what is kept a while for the readers of entries that are gone.
    """
    management = server.management
    if repository is not None:
        of_one = management.read_usage(management.find_repository(repository))
        budget = server.budgets.repository
        show(output, [of_one], budget)
        output.document(RepositoryResponse.of(of_one, budget).model_dump())
        return 0
    overview: Overview = management.read_usage.everywhere()
    show(output, list(overview.repositories), overview.budgets.repository)
    count = counted(len(overview.repositories), "repository", "repositories")
    output.say(
        f"{count}, {counted(overview.store.entries, 'entry', 'entries')}, "
        f"{of_budget(overview.store.bytes, overview.budgets.store)}"
    )
    output.document(RepositoriesResponse.of(overview).model_dump())
    return 0


def show(output: Output, usages: list[RepositoryUsage], budget: int | None) -> None:
    output.rows(
        ("id", "repository", "entries", "size", "last used"),
        (
            (
                it.repository.id,
                it.repository.name or "",
                str(it.usage.entries),
                of_budget(it.usage.bytes, budget),
                "" if it.last_used_at is None else moment(it.last_used_at),
            )
            for it in usages
        ),
    )


def of_budget(size: int, budget: int | None) -> str:
    return amount(size) if budget is None else f"{amount(size)} of {amount(budget)}"
