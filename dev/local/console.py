"""Writes what the user reads, one line at a time."""

import contextlib
import os
import select

from actions_cache_cli.doctor.report import printable

STDOUT, STDERR = 1, 2

PATIENCE_MS = 1000
"""Time to wait for a reader that takes no more lines: a full pipe, or a terminal stopped by Ctrl-S."""


class RunFailed(Exception):
    """Raised when the run can't start, or can't go on; the message is the line its user reads."""


def say(line: str) -> None:
    _write(STDOUT, line)


def complain(line: str) -> None:
    _write(STDERR, f"error: {line}")


def mention(line: str, descriptor: int = STDOUT) -> None:
    """Say what holds nothing up: it is lost if it would have to wait for its reader."""
    _write(descriptor, line, patience_ms=0)


def _write(descriptor: int, line: str, patience_ms: int = PATIENCE_MS) -> None:
    """At once. Whoever read may be gone, as when `make` was killed: that stops nothing, and leaves nothing to flush.

    Nor does one who doesn't read any more, and who has a pipe fill up: then the line is lost.
    """
    writable = select.poll()
    writable.register(descriptor, select.POLLOUT)
    if writable.poll(patience_ms):
        with contextlib.suppress(OSError):
            os.write(descriptor, f"{printable(line)}\n".encode())
