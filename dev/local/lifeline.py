"""How processes notice that another is gone, however it went: a pipe, whose reader sees its end when nobody can write.

A SIGKILL runs no handler and no `finally`, but it closes the pipe.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Lifeline:
    """Two file descriptors: whoever holds `keep` open keeps those alive who watch `watch`."""

    def __init__(self) -> None:
        self.watch, self.keep = os.pipe()
        self._kept = True

    @classmethod
    @contextmanager
    def tied(cls) -> Iterator["Lifeline"]:
        """Kept by this process until the block ends, and by those that `keep` is passed to."""
        lifeline = cls()
        try:
            yield lifeline
        finally:
            lifeline.let_go()
            os.close(lifeline.watch)

    def let_go(self) -> None:
        if self._kept:
            self._kept = False
            os.close(self.keep)


def stop_at_end_of(watch: int, patience_seconds: float) -> None:
    """Sends this process a SIGTERM at the lifeline's end, and ends it the hard way if that takes too long."""

    def stop() -> None:
        os.read(watch, 1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(patience_seconds)
        os._exit(1)

    threading.Thread(target=stop, name="lifeline", daemon=True).start()
