"""`dlq`: merges that failed for good, and another try for them."""

from collections.abc import Sequence
from typing import Any

import click

from actions_cache.integrity import Reading, RedriveAction
from actions_cache_cli.console import Output, counted, moment
from actions_cache_cli.options import changes, on_server
from actions_cache_cli.services import OperatorServices

SHOWN_BODY = 80


@click.group()
def dlq() -> None:
    """Look at and replay the dead-letter queue.

    A merge that failed for good leaves its message there, and raises the alarm. Its entry restores all the same, from
    its parts, only slower and for more money. While a command runs, the messages are hidden from others, and they
    come back as they were.
    """


@dlq.command()
@on_server
def show(server: OperatorServices, output: Output) -> int:
    """Each message, the archive it names, and what a replay would do."""
    readings = list(server.redrive_dead_letters(acts=False))
    show_all(output, readings)
    output.say(f"{counted(len(readings), 'message')} in the dead-letter queue")
    return 0


@dlq.command()
@click.option("--drop-unreadable", is_flag=True, help="Drop what is no merge message too: nothing else would.")
@changes("Replay.")
@on_server
def redrive(server: OperatorServices, output: Output, *, drop_unreadable: bool, yes: bool) -> int:
    """Try those merges again.

    Each archive that still needs its merge is claimed anew, with all its attempts, by one conditional write, and one
    new message is sent: two replays at once, or one beside a worker that lives, still make one merge. Then the old
    message goes; so do those whose archive is merged, removed, or claimed anew already.

    Mend the cause first (docs/runbook.md), or they come back.

    Exit code: 0 all were dealt with, 1 some stay.
    """
    readings = []
    with output.progress("messages") as bar:
        for reading in server.redrive_dead_letters(acts=yes, drops_unreadable=drop_unreadable):
            readings.append(reading)
            bar.advance()
    show_all(output, readings)
    done = sum(reading.is_done for reading in readings)
    if yes:
        output.say(f"{counted(len(readings), 'message')}: {done} dealt with, {len(readings) - done} left")
        return 0 if done == len(readings) else 1
    output.say(f"{counted(len(readings), 'message')}; nothing was changed: --yes replays")
    return 0


def show_all(output: Output, readings: Sequence[Reading]) -> None:
    output.rows(
        ("sent", "archive", "repository", "key", "merge", "a replay"),
        (
            (
                moment(it.dead_letter.sent_at),
                it.dead_letter.message.archive_id if it.dead_letter.message else it.dead_letter.body[:SHOWN_BODY],
                it.archive.name.family.repository if it.archive else "",
                it.archive.name.key if it.archive else "",
                it.archive.merge.state if it.archive else "",
                f"failed: {it.fault}" if it.fault else it.prospect,
            )
            for it in readings
        ),
    )
    output.document({"messages": [as_json(it) for it in readings]})


def as_json(reading: Reading) -> dict[str, Any]:
    dead_letter, archive = reading.dead_letter, reading.archive
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
        "replay": RedriveAction(reading.prospect).name.lower(),
        "done": reading.is_done,
        "fault": reading.fault,
    }
