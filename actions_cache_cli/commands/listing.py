"""`list`: what a repository keeps."""

import click

from actions_cache.domain.listing import Direction, EntryFilter, Order, Page, SortBy
from actions_cache.http.schemas import EntriesResponse, EntryResponse
from actions_cache_cli.commands.entries import TITLES, as_rows, filtered, filters, repository_argument
from actions_cache_cli.console import Output, counted
from actions_cache_cli.options import on_server
from actions_cache_cli.services import OperatorServices


@click.command("list")
@repository_argument
@filters
@click.option("--sort", type=click.Choice([it.value for it in SortBy]), default="last_used_at", show_default=True)
@click.option("--ascending", is_flag=True, help="Smallest, oldest or first first.")
@click.option("--page", type=click.IntRange(1), default=1, show_default=True)
@click.option("--per-page", type=click.IntRange(1, 10_000), default=30, show_default=True)
@on_server
@filtered
def list_(
    server: OperatorServices,
    output: Output,
    *,
    repository: str,
    wanted: EntryFilter,
    sort: str,
    ascending: bool,
    page: int,
    per_page: int,
) -> int:
    """Show a repository's entries.

    REPOSITORY is owner/name, or the id in its jobs' tokens (with @ and the issuer, where that isn't github.com).
    """
    management = server.management
    order = Order(SortBy(sort), Direction.ASCENDING if ascending else Direction.DESCENDING)
    format_timestamp = Page(page, per_page)
    found = management.find_repository(repository)
    listing = management.list_entries(found.id, wanted, order, format_timestamp)
    hits = management.list_entries.hits(found.id, listing)
    output.rows(TITLES, as_rows(listing.archives, hits))
    output.say(
        f"page {page} of {format_timestamp.last_of(listing.total)}, {counted(listing.total, 'entry', 'entries')} in all"
    )
    entries = [EntryResponse.of(it, hits) for it in listing.archives]
    output.document(
        EntriesResponse(total=listing.total, more=False, page=page, per_page=per_page, entries=entries).model_dump()
    )
    return 0
