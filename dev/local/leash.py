"""Runs an engine that ends when the run does, however that ends: `python -m dev.local.leash ... -- COMMAND`.

In a session of its own, so that neither Ctrl-C nor a SIGKILL of the run's process group reaches it or the engine:
the engine always gets its SIGTERM, and saves its state.
"""

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

PR_SET_PDEATHSIG = 1
"""linux/prctl.h: the signal a process gets when its parent dies."""


def main() -> int:
    options = _options()
    engine = subprocess.Popen(
        options.command,
        cwd=options.directory,
        pass_fds=options.hold,
        preexec_fn=_second_rope(),  # noqa: PLW1509 - this process has no other thread yet
    )
    stop = _stopper(engine, options.timeout)
    signal.signal(signal.SIGTERM, lambda _signal, _frame: stop())
    threading.Thread(target=_stop_at_end, args=(options.lifeline, stop), daemon=True).start()
    try:
        return engine.wait()
    finally:
        for leftover in options.remove:
            leftover.unlink(missing_ok=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev.local.leash")
    parser.add_argument("--lifeline", type=int, required=True, help="file descriptor whose end ends the engine")
    parser.add_argument("--hold", type=int, action="append", default=[], help="file descriptor the engine holds open")
    parser.add_argument("--directory", type=Path, required=True, help="where the engine runs")
    parser.add_argument("--patience", type=float, required=True, help="seconds from SIGTERM to SIGKILL")
    parser.add_argument("--remove", type=Path, action="append", default=[], help="file the engine leaves behind")
    parser.add_argument("command", nargs="+")
    return parser.parse_args()


def _second_rope() -> Callable[[], None] | None:
    """For a SIGKILL of this very process. Linux only; elsewhere the engine would live on."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def die_with_the_leash() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    return die_with_the_leash


def _stopper(engine: subprocess.Popen[bytes], patience_seconds: float) -> Callable[[], None]:
    def stop() -> None:
        engine.terminate()
        killer = threading.Timer(patience_seconds, engine.kill)
        killer.daemon = True
        killer.start()

    return stop


def _stop_at_end(lifeline: int, stop: Callable[[], None]) -> None:
    os.read(lifeline, 1)
    stop()


if __name__ == "__main__":
    sys.exit(main())
