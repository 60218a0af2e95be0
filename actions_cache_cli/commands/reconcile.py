"""`reconcile`: what stands in the bucket, and what is counted, held against the table."""

from collections.abc import Iterator
from dataclasses import dataclass

import click

from actions_cache.cleanup import FindOrphans
from actions_cache_cli.console import Bar, Output, amount, counted
from actions_cache_cli.options import changes, on_server
from actions_cache_cli.services import OperatorServices


@dataclass(frozen=True)
class Orphan:
    archive_id: str
    objects: int
    size: int


@click.command()
@changes("Delete what nobody owns, and correct the counts.")
@on_server
def reconcile(server: OperatorServices, output: Output, *, yes: bool) -> int:
    """Look for orphaned objects and wrong counts.

    Lists the bucket, and asks the table for each archive that objects stand under. What the table doesn't know, no
    reader can reach. The server's own schedule does the same twice a day, so there is little to find, unless the table
    was restored from a backup: then everything saved since looks like an orphan. Look before you say --yes.

    Then each repository's usage, which its budget is held against, is counted anew from its entries.
    """
    with output.progress("archives in the bucket") as bar:
        found = list(archives_of(server.find_orphans, bar, deletes=yes))
    orphans = [archive for archive in found if isinstance(archive, Orphan)]
    repositories = server.repositories.ids()
    drifted = []
    with output.progress("repositories", len(repositories)) as bar:
        for repository in repositories:
            bar.advance()
            count = server.reconcile_usage.wrong_count(repository)
            if count is not None:
                drifted.append((repository, count))
                if yes:
                    server.reconcile_usage.correct(repository, count)
    output.rows(("archive", "objects", "size"), ((it.archive_id, str(it.objects), amount(it.size)) for it in orphans))
    output.rows(
        ("repository", "counted", "stored"),
        (
            (
                repository,
                f"{counted(it.counted.entries, 'entry', 'entries')}, {it.counted.bytes} B",
                f"{counted(it.stands.entries, 'entry', 'entries')}, {it.stands.bytes} B",
            )
            for repository, it in drifted
        ),
    )
    output.say(summary(len(found), orphans, len(repositories), len(drifted), acts=yes))
    output.document(
        {
            "archives": len(found),
            "orphans": [
                {"archive_id": it.archive_id, "objects": it.objects, "bytes": it.size, "deleted": yes} for it in orphans
            ],
            "repositories": len(repositories),
            "miscounted": [
                {
                    "repository": repository,
                    "counted": {"entries": it.counted.entries, "bytes": it.counted.bytes},
                    "stored": {"entries": it.stands.entries, "bytes": it.stands.bytes},
                    "corrected": yes,
                }
                for repository, it in drifted
            ],
        }
    )
    return 0


def archives_of(find: FindOrphans, bar: Bar, *, deletes: bool) -> Iterator[str | Orphan]:
    """Each that objects stand under: the id of one that the table knows, or an orphan."""
    for archive_id, is_known in find.archives():
        bar.advance()
        if is_known:
            yield archive_id
            continue
        count, size = 0, 0
        for page in find.objects(archive_id):
            count, size = count + len(page), size + sum(part.size for part in page)
            if deletes:
                find.delete(archive_id, page)
        if count:
            yield Orphan(archive_id, count, size)


def summary(archives: int, orphans: list[Orphan], repositories: int, drifted: int, *, acts: bool) -> str:
    line = (
        f"{counted(archives, 'archive')} in the bucket, {len(orphans)} of nobody "
        f"({amount(sum(it.size for it in orphans))}); {counted(repositories, 'repository', 'repositories')}, "
        f"{drifted} counted wrong"
    )
    if not (orphans or drifted):
        return line
    return f"{line}; {'mended' if acts else 'nothing was changed: --yes mends it'}"
