"""`delete`: entries go, those that are named and no others."""

import click

from actions_cache.domain.errors import NotFound
from actions_cache.domain.listing import EntryFilter
from actions_cache.http.schemas import DeletionResponse
from actions_cache.manage import Deletion
from actions_cache_cli.commands.entries import TITLES, as_rows, filtered, filters, repository_argument
from actions_cache_cli.console import CommandFailed, Output, amount, counted
from actions_cache_cli.options import changes, on_server
from actions_cache_cli.services import OperatorServices


@click.command()
@repository_argument
@click.option("--id", "number", type=click.IntRange(1), help="The entry with this id, as list shows it.")
@filters
@changes("Delete.")
@on_server
@filtered
def delete(
    server: OperatorServices,
    output: Output,
    *,
    repository: str,
    number: int | None,
    wanted: EntryFilter,
    yes: bool,
) -> int:
    """Delete entries of a repository.

    At least one option must say which; all that are given must hold. --older-than 0s is every one that there is.

    Lookups miss them at once. Who is reading one reads on: its objects go after the readers' grace.
    """
    if number is not None and not wanted.asks_nothing:
        raise CommandFailed("--id names one entry; it goes with no other filter")
    management = server.management
    found = management.find_repository(repository)
    if number is not None:
        deletion = management.delete_entries.numbered(found.id, number, dry_run=not yes)
        if not deletion.archives:
            raise NotFound(f"no entry of {repository} has the id {number}")
    else:
        deletion = delete_all(server, output, found.id, wanted, acts=yes)
    hits = management.list_entries.hits_of(found.id, deletion.archives)
    output.rows(TITLES, as_rows(deletion.archives, hits))
    output.say(summary(deletion, acts=yes))
    output.document(DeletionResponse.of(deletion, hits, dry_run=not yes).model_dump())
    return 0


def delete_all(
    server: OperatorServices, output: Output, repository_id: str, wanted: EntryFilter, *, acts: bool
) -> Deletion:
    """In as many rounds as it takes, until one removes nothing: then what is left is used right now."""
    delete_entries = server.management.delete_entries
    if not acts:
        return delete_entries(repository_id, wanted, dry_run=True)
    done = Deletion((), 0)
    with output.progress("entries") as bar:
        while True:
            deletion = delete_entries(repository_id, wanted)
            done = Deletion(done.archives + deletion.archives, deletion.remaining)
            for _ in deletion.archives:
                bar.advance()
            if not (deletion.remaining and deletion.archives):
                return done


def summary(deletion: Deletion, *, acts: bool) -> str:
    size = amount(sum(archive.size for archive in deletion.archives))
    more = f", and {deletion.remaining} more" if deletion.remaining else ""
    line = f"{counted(len(deletion.archives), 'entry', 'entries')} ({size}){more}"
    return f"{line} deleted" if acts else f"{line}; nothing was changed: --yes deletes"
