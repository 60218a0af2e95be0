"""What the user reads: one line each."""

import contextlib
import os

from doctor.printable import printable

STDOUT, STDERR = 1, 2


class RunFailed(Exception):
    """The run can't start, or can't go on; the message is the line its user reads."""


def say(line: str) -> None:
    _write(STDOUT, line)


def complain(line: str) -> None:
    _write(STDERR, f"error: {line}")


def _write(descriptor: int, line: str) -> None:
    """At once. Whoever read may be gone, as when `make` was killed: that stops nothing, and leaves nothing to flush."""
    with contextlib.suppress(OSError):
        os.write(descriptor, f"{printable(line)}\n".encode())
