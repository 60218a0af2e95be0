"""Writes the lines that the user reads, among them one for each save, restore and miss."""

import contextlib
import datetime as dt
import json
import os
import select
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from actions_cache.events import BYTES_DOWN, BYTES_UP
from actions_cache_cli.console import amount
from actions_cache_cli.doctor.report import printable

STDOUT, STDERR = 1, 2

TIMEOUT_MS = 1000
"""Time to wait for a reader that takes no more lines: a full pipe, or a terminal stopped by Ctrl-S."""

MAX_BYTES = 256 * 1024
"""Most bytes of the log to read at a time; the next call reads on."""

MAX_LINES = 20
"""Most lines to show at a time, which is 100 a second: more than anybody reads, and little for a terminal."""

MAX_CHARACTERS = 100
"""Most characters of a name to show. A key may have 512, and a repository's id 2,048."""

NOTHING_SAVED = "nothing can be saved"
"""Message of the line that the server logs when the store takes no object; its `reason` says why."""


class RunFailed(Exception):
    """Raised when the run can't start, or can't go on; the message is the line that the user reads."""


def say(line: str) -> None:
    """Write a line."""
    _write(STDOUT, line, TIMEOUT_MS)


def complain(line: str) -> None:
    """Write an error."""
    _write(STDERR, f"error: {line}", TIMEOUT_MS)


def mention(line: str, descriptor: int = STDOUT) -> None:
    """Write a line only if that takes no waiting; else it is lost."""
    _write(descriptor, line, timeout_ms=0)


def _write(descriptor: int, line: str, timeout_ms: int) -> None:
    """Write a line at once, unbuffered, or lose it: a reader that is gone, or that reads no more, stops nothing."""
    writable = select.poll()
    writable.register(descriptor, select.POLLOUT)
    if writable.poll(timeout_ms):
        with contextlib.suppress(OSError):
            os.write(descriptor, f"{printable(line)}\n".encode())


SHOWN: Mapping[str, tuple[str, str, str | None]] = {
    "saved": ("save", "key", BYTES_UP.name),
    "hit": ("restore", "key", BYTES_DOWN.name),
    "miss": ("miss", "requested_key", None),
}
"""Maps an event's message to the word shown for it, and to the fields of its log line that hold key and size."""


class Activity:
    """Reads the server's log as it grows, so that no request waits for the terminal.

    Args:
        log: The server's log, read from its beginning.
    """

    def __init__(self, log: Path) -> None:
        self._file: BinaryIO = log.open("rb")
        self._unfinished = b""

    def close(self) -> None:
        self._file.close()

    def lines(self) -> Iterator[str]:
        """Yield lines for the events since the last call: the first MAX_LINES, and how many more there are."""
        *complete, self._unfinished = (self._unfinished + self._file.read(MAX_BYTES)).split(b"\n")
        if len(self._unfinished) > MAX_BYTES:
            # No event's line is so long. The rest of this one won't be JSON.
            self._unfinished = b""
        shown = [text for line in complete if (text := _shown(line)) is not None]
        yield from shown[:MAX_LINES]
        if len(shown) > MAX_LINES:
            yield f"... and {len(shown) - MAX_LINES} more"


def _shown(line: bytes) -> str | None:
    """Return a line of the log as people read it, or None for all others."""
    try:
        fields: dict[str, Any] = json.loads(line)
        if fields["message"] == NOTHING_SAVED:
            return f"error: {NOTHING_SAVED}: {fields['reason']}"
        word, key_field, size_field = SHOWN[fields["message"]]
        at = dt.datetime.fromisoformat(fields["timestamp"]).astimezone()
        size = amount(int(fields[size_field])) if size_field else ""
        repository, key = _short(fields["repository"]), _short(fields[key_field])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    # Names that others chose come last, so that they can't pass for the rest.
    return f"{at:%H:%M:%S}  {word:7}  {size:>9}  repository {repository}  {key}"


def _short(name: object) -> str:
    text = str(name)
    return text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS - 3]}..."
