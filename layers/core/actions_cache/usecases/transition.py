"""Read, decide, write; and again when somebody else wrote in between."""

from collections.abc import Callable

from actions_cache.domain.archive import Archive
from actions_cache.domain.errors import TryAgain
from actions_cache.ports import Table, WriteConflict

MAX_ROUNDS = 10
"""Of optimistic writes. Each lost round means that another writer got on, so losing this many is no accident."""

Decision = Callable[[Archive], Archive | None]


def transition(table: Table, archive_id: str, decide: Decision) -> Archive | None:
    """The archive as written, or None where there is none or `decide` gave None for it.

    `decide` is asked about the archive as it now is, each time anew: whatever it decides holds at the write.
    """
    for _ in range(MAX_ROUNDS):
        seen = table.archive(archive_id)
        by = decide(seen) if seen else None
        if seen is None or by is None:
            return None
        try:
            return table.replace_archive(seen, by)
        except WriteConflict:
            continue
    raise TryAgain("too many writers at once")
