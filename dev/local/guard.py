"""Ends a process group when nobody has the pipe on standard input open any more: `python -m dev.local.guard`.

It loads little, since each local run starts several guards. Guard of process.py starts it.
"""

import argparse
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import psutil

POLL_SECONDS = 0.05


def main() -> None:
    """Wait until nobody has the pipe open any more, or something comes through it, and end the process group."""
    parser = argparse.ArgumentParser(prog="dev.local.guard")
    parser.add_argument("--stop-seconds", type=float, required=True, help="seconds from SIGTERM to SIGKILL")
    parser.add_argument("leftover", nargs="*", type=Path, help="file to delete at the end")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.read(sys.stdin.fileno(), 1)
    deadline = time.monotonic() + options.stop_seconds
    if _has_others(os.getpgrp()):
        os.killpg(os.getpgrp(), signal.SIGTERM)
    while (others := _has_others(os.getpgrp())) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    for leftover in options.leftover:
        leftover.unlink(missing_ok=True)
    if others:
        os.killpg(os.getpgrp(), signal.SIGKILL)


def _has_others(group: int) -> bool:
    """Return whether a process group has members besides this process. Zombies don't count."""
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if (
                os.getpgid(process.pid) == group
                and process.pid != os.getpid()
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                return True
    return False


if __name__ == "__main__":
    main()
