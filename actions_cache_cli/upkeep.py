"""Commands that look for damage and repair it: dlq, reconcile, verify."""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import click

from actions_cache.cleanup import FindOrphans
from actions_cache.integrity import Damage, RedriveAction, RedriveResult, Scrubbed
from actions_cache_cli.console import (
    Bar,
    CommandFailed,
    Output,
    amount,
    closing_help,
    counted,
    moment,
)
from actions_cache_cli.services import OperatorServices
from actions_cache_cli.table import Column
from actions_cache_cli.target import changes, on_server

# ---------------------------------------------------------------- dlq

SHOWN_BODY = 80

LETTER_FIELDS = """messages (message_id, sent_at in ms since 1970, body, archive_id, repository, scope, key, merge,
attempts, replay, done, fault)."""
LETTERS = (
    Column.text("sent"),
    Column.name("repository"),
    Column.name("key"),
    Column.text("merge"),
    Column.text("a redrive"),
    Column.name("archive"),
)


@click.group()
def dlq() -> None:
    """Show merges that failed for good, and try them again.

    Such a merge leaves its message in the dead-letter queue, and raises the alarm. Its entry still restores from its
    parts, only more slowly and at a higher cost. While a command runs, the messages are hidden from others; they come
    back unchanged.
    """


@dlq.command(epilog=closing_help("dlq show", "dlq show --json | jq '.messages | length'", fields=LETTER_FIELDS))
@on_server
def show(server: OperatorServices, output: Output) -> int:
    """Show each message, the archive it names, and what a redrive would do.

    Exit codes: 0: there is none. 1: there are some.
    """
    results = list(server.redrive_dead_letters(acts=False))
    show_all(server, output, results)
    output.say(f"{counted(len(results), 'message')} in the dead-letter queue")
    return 1 if results else 0


@dlq.command(epilog=closing_help("dlq redrive", "dlq redrive --yes", fields=LETTER_FIELDS))
@click.option("--drop-unreadable", is_flag=True, help="Drop what isn't a merge message too; nothing else would.")
@changes("Redrive.")
@on_server
def redrive(server: OperatorServices, output: Output, *, drop_unreadable: bool, yes: bool) -> int:
    """Try the failed merges again.

    Remove the cause first (docs/operate/runbook.md), or they come back.

    Each archive that still needs its merge is claimed anew, with all its attempts, and one new message is sent. Two
    redrives at once, or one beside a live worker, still make one merge. Then the old message is deleted, as are those
    whose archive is merged, removed or claimed anew already.

    Exit codes: 0: no message is left. 1: some are.
    """
    results = []
    with output.progress("messages") as bar:
        for result in server.redrive_dead_letters(acts=yes, drops_unreadable=drop_unreadable):
            results.append(result)
            bar.advance()
    show_all(server, output, results)
    done = sum(result.is_done for result in results)
    if yes:
        output.say(f"{counted(len(results), 'message')}: {done} dealt with, {len(results) - done} left")
    else:
        output.say(f"{counted(len(results), 'message')}; nothing was changed: --yes redrives")
    return 0 if done == len(results) else 1


_replay = copy(redrive)
_replay.hidden = True  # the command's former name, for scripts that use it
dlq.add_command(_replay, "replay")


def show_all(server: OperatorServices, output: Output, results: Sequence[RedriveResult]) -> None:
    output.rows(
        LETTERS,
        (
            (
                moment(row.dead_letter.sent_at),
                server.called(row.archive.name.family.repository) if row.archive else "",
                row.archive.name.key if row.archive else "",
                row.archive.merge.state if row.archive else "",
                f"failed: {row.error}" if row.error else row.action,
                row.dead_letter.message.archive_id if row.dead_letter.message else row.dead_letter.body[:SHOWN_BODY],
            )
            for row in results
        ),
    )
    output.document({"messages": [_redrive_document(row) for row in results]})


def _redrive_document(result: RedriveResult) -> dict[str, Any]:
    dead_letter, archive = result.dead_letter, result.archive
    message = dead_letter.message
    return {
        "message_id": dead_letter.id,
        "sent_at": dead_letter.sent_at,
        "body": None if message else dead_letter.body,
        "archive_id": message.archive_id if message else None,
        "repository": archive.name.family.repository if archive else None,
        "scope": archive.name.family.scope if archive else None,
        "key": archive.name.key if archive else None,
        "merge": archive.merge.state if archive else None,
        "attempts": archive.merge.attempts if archive else None,
        "replay": RedriveAction(result.action).name.lower(),
        "done": result.is_done,
        "fault": result.error,
    }


# ---------------------------------------------------------------- reconcile


@dataclass(frozen=True)
class Orphan:
    """Objects in the bucket whose archive the table doesn't know."""

    archive_id: str
    objects: int
    size: int


@click.command(
    epilog=closing_help(
        "reconcile",
        "reconcile --yes",
        fields="""archives, orphans (archive_id, objects, bytes, deleted), repositories, miscounted (repository,
counted, stored, corrected).""",
    )
)
@changes("Delete orphaned objects and correct the counts.")
@on_server
def reconcile(server: OperatorServices, output: Output, *, yes: bool) -> int:
    """Find objects that no entry refers to, and wrong counts.

    It lists the bucket and looks each archive up in the tables: no reader can reach one that they don't know. The
    server's own schedule does the same twice a day, so there is little to find, unless the tables were restored from a
    backup: then everything saved since is orphaned. Look before you say --yes.

    Then it counts each repository's usage anew from its entries.

    Exit codes: 0: nothing is wrong, or it was corrected. 1: something is wrong.
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
    output.rows(
        (Column.name("archive"), Column.number("objects"), Column.number("size")),
        ((orphan.archive_id, str(orphan.objects), amount(orphan.size)) for orphan in orphans),
    )
    output.rows(
        (Column.name("repository"), Column.text("counted"), Column.text("stored")),
        (
            (
                server.called(repository),
                f"{counted(count.counted.entries, 'entry', 'entries')}, {amount(count.counted.bytes)}",
                f"{counted(count.existing.entries, 'entry', 'entries')}, {amount(count.existing.bytes)}",
            )
            for repository, count in drifted
        ),
    )
    line = (
        f"{counted(len(found), 'archive')} in the bucket, {len(orphans)} orphaned "
        f"({amount(sum(orphan.size for orphan in orphans))}); "
        f"{counted(len(repositories), 'repository', 'repositories')}, {len(drifted)} counted wrong"
    )
    if orphans or drifted:
        line += "; corrected" if yes else "; nothing was changed: --yes corrects it"
    output.say(line)
    output.document(
        {
            "archives": len(found),
            "orphans": [
                {"archive_id": orphan.archive_id, "objects": orphan.objects, "bytes": orphan.size, "deleted": yes}
                for orphan in orphans
            ],
            "repositories": len(repositories),
            "miscounted": [
                {
                    "repository": repository,
                    "counted": {"entries": count.counted.entries, "bytes": count.counted.bytes},
                    "stored": {"entries": count.existing.entries, "bytes": count.existing.bytes},
                    "corrected": yes,
                }
                for repository, count in drifted
            ],
        }
    )
    return 1 if (orphans or drifted) and not yes else 0


def archives_of(find: FindOrphans, bar: Bar, *, deletes: bool) -> Iterator[str | Orphan]:
    """Yield each archive that has objects: the id of one that the table knows, or an orphan."""
    for archive_id, is_known in find.archives_with_objects():
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


# ---------------------------------------------------------------- verify


DAMAGE = (
    Column.name("repository"),
    Column.name("ref"),
    Column.name("key"),
    Column.text("damage"),
    Column.text("archive", is_spare=True),
    Column.name("object", is_spare=True),
)


@click.command(
    epilog=closing_help(
        "verify",
        "verify --deep --at-once 16",
        "verify --repair --dry-run",
        "verify --repair --yes",
        fields="""archives, bytes, damaged (archive_id, repository, scope, version, key, object, damage, removed),
not_looked_at (archive_id, because).""",
    )
)
@click.option("--deep", is_flag=True, help="Read and hash every byte too: as much traffic as is stored.")
@click.option("--repair", is_flag=True, help="Remove the entries that can't be restored, so that lookups miss.")
@click.option("--at-once", type=click.IntRange(1, 64), default=8, show_default=True, help="Archives.")
@changes("Let --repair remove them.")
@on_server
def verify(server: OperatorServices, output: Output, *, deep: bool, repair: bool, at_once: int, yes: bool) -> int:
    """Find lost and changed objects.

    It asks for each archive whether the objects that its next reader needs are in the bucket, with the size and ETag
    that they had: $0.40 for a million objects. Lookups notice missing objects too, but only of entries that a job looks
    up.

    --deep also reads all bytes, and compares them with the checksums that they arrived with. Run it in the bucket's
    region, where reading is free of charge; elsewhere AWS charges some $0.09 a GB.

    Exit codes: 0: no damage, or all of it was removed. 1: damage is left. 2: not everything could be checked.
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
    unknown = [scrubbed for scrubbed in done if scrubbed.error]
    output.rows(
        DAMAGE,
        (_cells(server, output, scrubbed.archive_id, scrubbed.damage) for scrubbed in damaged if scrubbed.damage),
    )
    output.rows(
        (Column.text("archive"), Column.text("not looked at, because")),
        ((scrubbed.archive_id, scrubbed.error or "") for scrubbed in unknown),
    )
    output.say(verify_summary(done, damaged, unknown, repair=repair))
    output.document(
        {
            "archives": len(stored_sizes(done)),
            "bytes": sum(stored_sizes(done)),
            "damaged": [_damage_document(scrubbed) for scrubbed in damaged],
            "not_looked_at": [{"archive_id": scrubbed.archive_id, "because": scrubbed.error} for scrubbed in unknown],
        }
    )
    if unknown:
        return 2
    return 0 if all(scrubbed.is_removed for scrubbed in damaged) else 1


def stored_sizes(done: list[Scrubbed]) -> list[int]:
    """Return the sizes of the stored archives; tombstones and uploads in progress have none."""
    return [scrubbed.size for scrubbed in done if scrubbed.size is not None]


def verify_summary(done: list[Scrubbed], damaged: list[Scrubbed], unknown: list[Scrubbed], *, repair: bool) -> str:
    sizes = stored_sizes(done)
    line = f"{counted(len(sizes), 'archive')}, {amount(sum(sizes))}: {len(damaged)} damaged"
    if unknown:
        line += f", {len(unknown)} not looked at"
    removed = sum(scrubbed.is_removed for scrubbed in damaged)
    if not damaged:
        return line
    line += f" ({amount(sum(stored_sizes(damaged)))})"
    if removed:
        return f"{line}; {counted(removed, 'entry', 'entries')} removed"
    return f"{line}; nothing was changed: {'--yes' if repair else '--repair --yes'} removes their entries"


def _cells(server: OperatorServices, output: Output, archive_id: str, damage: Damage) -> tuple[str, ...]:
    family = damage.name.family
    repository, ref = server.called(family.repository), output.ref(family.scope)
    return repository, ref, damage.name.key, damage.finding, archive_id, damage.object.key


def _damage_document(scrubbed: Scrubbed) -> dict[str, Any]:
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
