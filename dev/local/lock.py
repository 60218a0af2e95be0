"""One run at a time on one data directory."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev.local.console import RunFailed, say

WAIT_SECONDS = 30
POLL_SECONDS = 0.05


class DataLock:
    """Two locks, because a run that is over can still have processes that save their state.

    The supervisor alone holds the first, until it begins to stop. The second passes to every process of the run, and
    is free when the last of them is gone, whatever became of the supervisor.
    """

    def __init__(self, supervisor: int, processes: int) -> None:
        self._supervisor = supervisor
        self.processes = processes
        """File descriptor to be held by every process of the run."""

    @classmethod
    @contextmanager
    def taken(cls, data_dir: Path) -> Iterator["DataLock"]:
        """Waits for the processes of a run that is over.

        Raises:
            RunFailed: another run uses the directory, or one that is over doesn't end.
        """
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        supervisor = os.open(data_dir / "supervisor.lock", os.O_RDWR | os.O_CREAT, 0o600)
        processes = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if not _try_to_lock(supervisor):
                raise RunFailed(
                    f"another run uses {data_dir}: stop it, or give this one a LOCAL_DATA_DIR and PORT of its own"
                )
            _wait_for(processes, data_dir)
            yield cls(supervisor, processes)
        finally:
            os.close(supervisor)
            os.close(processes)

    def stopping(self) -> None:
        """From now on the next run waits instead of failing."""
        fcntl.flock(self._supervisor, fcntl.LOCK_UN)


def _wait_for(processes: int, data_dir: Path) -> None:
    if _try_to_lock(processes):
        return
    say("waiting until the last run has saved its state ...")
    deadline = time.monotonic() + WAIT_SECONDS
    while not _try_to_lock(processes):
        if time.monotonic() > deadline:
            raise RunFailed(f"the last run on {data_dir} has processes left after {WAIT_SECONDS} s")
        time.sleep(POLL_SECONDS)


def _try_to_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
