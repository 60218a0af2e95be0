"""`reconcile`: what stands in the bucket, held against the table."""

from dataclasses import dataclass

import click

from actions_cache.wiring.operator import OperatorPlane
from operate.console import Output, amount, counted
from operate.options import changes, on_server


@dataclass(frozen=True)
class Orphan:
    archive_id: str
    objects: int
    size: int


@click.command()
@changes("Delete them.")
@on_server
def reconcile(server: OperatorPlane, output: Output, *, yes: bool) -> int:
    """Look for objects that nobody owns.

    Lists the bucket, and asks the table for each archive that objects stand under. What the table doesn't know, no
    reader can reach. The server's own schedule does the same twice a day, so there is little to find, unless the table
    was restored from a backup: then everything saved since looks like an orphan. Look before you say --yes.
    """
    find = server.control.find_orphans
    orphans: list[Orphan] = []
    seen = 0
    with output.progress("archives in the bucket") as bar:
        for archive_id, is_known in find.archives():
            seen += 1
            bar.advance(f"{len(orphans)} of nobody")
            objects = [] if is_known else find.objects(archive_id)
            # SeaweedFS lists folders that are empty.
            if not objects:
                continue
            orphans.append(Orphan(archive_id, len(objects), sum(part.size for part in objects)))
            if yes:
                find.delete(archive_id)
    output.rows(("archive", "objects", "size"), ((it.archive_id, str(it.objects), amount(it.size)) for it in orphans))
    total = f"{counted(seen, 'archive')} in the bucket, {len(orphans)} of nobody"
    if orphans:
        total += f" ({amount(sum(it.size for it in orphans))})"
        total += "; deleted" if yes else "; nothing was changed: --yes deletes what nobody owns"
    output.say(total)
    output.document(
        {
            "archives": seen,
            "orphans": [
                {"archive_id": it.archive_id, "objects": it.objects, "bytes": it.size, "deleted": yes} for it in orphans
            ],
        }
    )
    return 0
