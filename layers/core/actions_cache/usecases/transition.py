"""Read, decide, write; and again when somebody else wrote in between."""

from collections.abc import Callable
from dataclasses import replace

from actions_cache.domain.archive import Archive
from actions_cache.domain.errors import TryAgain
from actions_cache.ports import Table, WriteConflict

MAX_ROUNDS = 10
"""Of optimistic writes. Each lost round means that another writer got on, so losing this many is no accident."""

Decision = Callable[[Archive], Archive | None]


def transition(table: Table, archive_id: str, decide: Decision) -> Archive | None:
    """The archive as written, or None where there is none or `decide` gave None for it.

    `decide` is asked about the archive as it now is, each time anew: whatever it decides holds at the write. A
    write that took effect though its answer was lost, so that its retry met a conflict, is known by what stands.
    """
    attempted: Archive | None = None
    for _ in range(MAX_ROUNDS):
        seen = table.archive(archive_id)
        if seen is not None and seen == attempted:
            return seen
        by = decide(seen) if seen else None
        if seen is None or by is None:
            return None
        try:
            return table.replace_archive(seen, by)
        except WriteConflict:
            attempted = replace(by, revision=seen.revision + 1)
    raise TryAgain("too many writers at once")
