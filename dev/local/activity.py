"""Shows what jobs do on the run's terminal: a line for each save, restore and miss, read from the functions' log.

No request waits for it: the server writes its log anyway, and another process reads that.
"""

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from actions_cache.events import BYTES_DOWN, BYTES_UP
from actions_cache_cli.console import amount

MOST_BYTES = 256 * 1024
"""Most bytes of the log to read at a time; the next call reads on."""

MOST_LINES = 20
"""Most lines to show at a time, which is 100 a second: more than anybody reads, and little for a terminal."""

MOST_CHARACTERS = 100
"""Most characters of a name to show. A key may have 512, and a repository's id 2,048."""


@dataclass(frozen=True)
class _Told:
    """Describes how a line of the log is shown: by which word, and which of its fields hold the key and the size."""

    word: str
    key: str
    size: str | None


TOLD: Mapping[str, _Told] = {
    "saved": _Told("save", "key", BYTES_UP.name),
    "hit": _Told("restore", "key", BYTES_DOWN.name),
    "miss": _Told("miss", "requested_key", None),
}
"""Maps the `what` of happenings.saved, hit and missed to how its line is shown."""


class Activity:
    """Reads the server's log as it grows.

    Args:
        log: The server's log, read from its beginning.
    """

    def __init__(self, log: Path) -> None:
        self._file: BinaryIO = log.open("rb")
        self._unfinished = b""

    def close(self) -> None:
        self._file.close()

    def lines(self) -> Iterator[str]:
        """Yield what was told since the last call; of many lines the first, and how many more there were."""
        *whole, self._unfinished = (self._unfinished + self._file.read(MOST_BYTES)).split(b"\n")
        if len(self._unfinished) > MOST_BYTES:
            # None of ours is so long. What is left of it won't be JSON.
            self._unfinished = b""
        shown = [line for it in whole if (line := _shown(it)) is not None]
        yield from shown[:MOST_LINES]
        if len(shown) > MOST_LINES:
            yield f"... and {len(shown) - MOST_LINES} more"


def _shown(line: bytes) -> str | None:
    """Return a line of the log as people read it, or None for all others."""
    try:
        fields: dict[str, Any] = json.loads(line)
        told = TOLD[fields["message"]]
        at = dt.datetime.fromisoformat(fields["timestamp"]).astimezone()
        size = amount(int(fields[told.size])) if told.size else ""
        repository, key = _short(fields["repository"]), _short(fields[told.key])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    # What others chose comes last, so that it can't pass for the rest.
    return f"{at:%H:%M:%S}  {told.word:7}  {size:>8}  repository {repository}  {key}"


def _short(name: object) -> str:
    text = str(name)
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 3]}..."
