"""What the user reads: one line each, on standard output."""

import contextlib
import sys


class RunFailed(Exception):
    """The run can't start, or can't go on; the message is the line its user reads."""


def say(line: str) -> None:
    """Says it at once; whoever read it may be gone, as when `make` was killed, and that stops nothing."""
    with contextlib.suppress(OSError):
        print(line, flush=True)


def complain(line: str) -> None:
    with contextlib.suppress(OSError):
        print(f"error: {line}", file=sys.stderr, flush=True)
