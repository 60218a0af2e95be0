"""Records which jobs TOKEN_CLAIMS keeps out, for people to see. It neither delays nor fails a request."""

import logging
from concurrent.futures import Executor
from dataclasses import dataclass, field
from threading import Lock

from actions_cache.domain.refusal import KEPT, Refusals, RefusedJob, may_write
from actions_cache.domain.timing import Millis
from actions_cache.ports import Clock, Repositories, Unavailable, WriteConflict

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Slot:
    """Holds what this process knows of a slot."""

    repository: tuple[str, str]
    written_at: Millis | None = None
    unwritten: int = 0


@dataclass(slots=True)
class NoteRefused:
    """Writes seldom, and one at a time: refused jobs may ask as often as they like."""

    repositories: Repositories
    clock: Clock
    threads: Executor
    _slots: dict[int, _Slot] = field(default_factory=dict)
    _written_at: Millis | None = None
    _lock: Lock = field(default_factory=Lock)
    _writing: Lock = field(default_factory=Lock)

    def __call__(self, job: RefusedJob) -> None:
        """Count the refusal, and let another thread write it if it is time."""
        now = self.clock.now()
        with self._lock:
            times = self._times(job, now)
        if times:
            self.threads.submit(self._write, Refusals(job, times, now))

    def _times(self, job: RefusedJob, now: Millis) -> int:
        """Return how many refusals to write now; 0 for none."""
        repository = (job.issuer, job.repository_id)
        slot = self._slots.setdefault(job.slot, _Slot(repository))
        if slot.repository != repository:
            slot.repository, slot.unwritten = repository, 0
        slot.unwritten += 1
        if not may_write(slot.written_at, self._written_at, now) or not self._writing.acquire(blocking=False):
            return 0
        times, slot.unwritten = slot.unwritten, 0
        slot.written_at = self._written_at = now
        return times

    def _write(self, refusals: Refusals) -> None:
        try:
            self.repositories.add_refusals(refusals, refusals.last_at + KEPT)
        except WriteConflict:
            pass  # another repository has the slot; the log has this one
        except Unavailable:
            logger.exception("a refused job wasn't noted")
        finally:
            self._writing.release()
