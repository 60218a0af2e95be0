"""What people want to see of what jobs do. It fails no job: what can't be counted is left out."""

import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from actions_cache.domain.activity import Tally, hour_of
from actions_cache.domain.archive import Archive
from actions_cache.domain.entry import Entry
from actions_cache.domain.timing import Lifetimes
from actions_cache.ports import Clock, Repositories, Unavailable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NoteActivity:
    repositories: Repositories
    clock: Clock
    lifetimes: Lifetimes
    threads: Executor

    def hit(self, archive: Archive) -> None:
        repository, now = archive.name.family.repository, self.clock.now()
        # An entry lives no longer than this without another hit.
        forget_at = now + 2 * self.lifetimes.unused_entry
        beside = self.threads.submit(_try, lambda: self.repositories.add_hit(repository, archive.id, now, forget_at))
        self._tally(repository, Tally(hits=1, bytes_restored=archive.size))
        beside.result()

    def miss(self, repository: str) -> None:
        self._tally(repository, Tally(misses=1))

    def save(self, entry: Entry) -> None:
        self._tally(entry.name.family.repository, Tally(saves=1, bytes_saved=entry.size))

    def _tally(self, repository: str, tally: Tally) -> None:
        _try(lambda: self.repositories.add_tally(repository, hour_of(self.clock.now()), tally))


def _try(write: Callable[[], None]) -> None:
    try:
        write()
    except Unavailable:
        logger.exception("an activity wasn't counted")
