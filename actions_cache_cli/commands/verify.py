"""`verify`: what the table points to, held against the bucket."""

from typing import Any

import click

from actions_cache.integrity import Damage, Scrubbed
from actions_cache_cli.console import CommandFailed, Output, amount, counted
from actions_cache_cli.options import changes, on_server
from actions_cache_cli.services import OperatorServices


@click.command()
@click.option("--deep", is_flag=True, help="Read and hash every byte too: as much traffic as is stored.")
@click.option("--repair", is_flag=True, help="Remove the entries that can't be restored, so that lookups miss.")
@click.option("--at-once", type=click.IntRange(1, 64), default=8, show_default=True, help="Archives.")
@changes("Let --repair remove them.")
@on_server
def verify(server: OperatorServices, output: Output, *, deep: bool, repair: bool, at_once: int, yes: bool) -> int:
    """Look for lost and changed objects.

    Every archive of the table is held against the bucket: whether the objects that its next reader needs are there,
    with the size and ETag that they had; with --deep also whether their bytes still have the checksums that they came
    in with. Lookups notice by themselves what is missing, but only where somebody looks.

    --deep reads everything that is stored. Run it in the bucket's region, where reading is free of charge: outside,
    AWS takes some $0.09 a GB.

    Exit code: 0 all is well, 1 something is damaged (even if it was removed), 2 not everything could be looked at.
    """
    if yes and not repair:
        raise CommandFailed("--yes goes with --repair: nothing else here changes anything")
    archives = list(server.scrub.archives())
    done: list[Scrubbed] = []
    with output.progress("archives", len(archives)) as bar:
        damaged: list[Scrubbed] = []
        for scrubbed in server.scrub(archives, deep=deep, removes=repair and yes, concurrency=at_once):
            done.append(scrubbed)
            damaged += [scrubbed] if scrubbed.damage else []
            bar.advance(f"{len(damaged)} damaged")
    unknown = [it for it in done if it.fault]
    output.rows(
        ("archive", "repository", "scope", "key", "object", "damage"),
        ((it.archive_id, *as_cells(it.damage)) for it in damaged if it.damage),
    )
    output.rows(("archive", "not looked at, because"), ((it.archive_id, it.fault or "") for it in unknown))
    output.say(summary(done, damaged, unknown, repair=repair))
    output.document(
        {
            "archives": len(stored(done)),
            "bytes": sum(stored(done)),
            "damaged": [as_json(it) for it in damaged],
            "not_looked_at": [{"archive_id": it.archive_id, "because": it.fault} for it in unknown],
        }
    )
    if unknown:
        return 2
    return 1 if damaged else 0


def stored(done: list[Scrubbed]) -> list[int]:
    """Sizes. Tombstones and uploads under way have none."""
    return [it.size for it in done if it.size is not None]


def summary(done: list[Scrubbed], damaged: list[Scrubbed], unknown: list[Scrubbed], *, repair: bool) -> str:
    sizes = stored(done)
    line = f"{counted(len(sizes), 'archive')}, {amount(sum(sizes))}: {len(damaged)} damaged"
    if unknown:
        line += f", {len(unknown)} not looked at"
    removed = sum(it.is_removed for it in damaged)
    if removed:
        return f"{line}; {counted(removed, 'entry', 'entries')} removed"
    if not damaged:
        return line
    return f"{line}; nothing was changed: {'--yes' if repair else '--repair --yes'} removes their entries"


def as_cells(damage: Damage) -> tuple[str, ...]:
    family = damage.name.family
    return family.repository, family.scope, damage.name.key, damage.object.key, damage.finding


def as_json(scrubbed: Scrubbed) -> dict[str, Any]:
    damage = scrubbed.damage
    if damage is None:
        return {}
    family = damage.name.family
    return {
        "archive_id": scrubbed.archive_id,
        "repository": family.repository,
        "scope": family.scope,
        "version": family.version,
        "key": damage.name.key,
        "object": damage.object.key,
        "damage": damage.finding,
        "removed": scrubbed.is_removed,
    }
