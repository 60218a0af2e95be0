"""Evict the entries that were used longest ago, of a repository or of the whole store, when it is over budget."""

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from actions_cache import events
from actions_cache.archives import RemoveEntry
from actions_cache.domain.archive import Archive
from actions_cache.domain.budgets import Budgets, by_last_use
from actions_cache.domain.timing import Millis
from actions_cache.ports import Repositories, Table, Telemetry

AT_A_SAVE = 25
"""Number of entries that a save may evict before it answers, some 20 ms each. More: slower saves. Fewer: more is left
for the schedule."""

MOST_ASKED = 100
"""Number of repositories whose oldest entries are compared when the store is over its budget, a query of some 10 ms
each. More: slower evictions. Fewer: an entry may be evicted before others that were used longer ago."""


@dataclass(frozen=True, slots=True)
class Evict:
    """Removes entries until the budgets are kept."""

    table: Table
    repositories: Repositories
    remove_entry: RemoveEntry
    budgets: Budgets
    telemetry: Telemetry

    def after_save(self, repository_id: str) -> int:
        """Evict entries of this repository, and then of any while the store is over its budget.

        Returns:
            How many entries were evicted.
        """
        room = AT_A_SAVE
        room -= self._evict_of(repository_id, room)
        room -= self._evict_of_any(room)
        return AT_A_SAVE - room

    def everywhere(self, is_time_left: Callable[[], bool], begin: float = 0.0) -> int:
        """Evict what saves left over budget, first in the store and then in each repository in turn.

        Args:
            is_time_left: returns whether there is time for a few more evictions.
            begin: place among the repositories to begin at, from 0 to 1. With another value at each run, each
                repository has its turn within some runs, however many there are.

        Returns:
            How many entries were evicted.
        """
        evicted = 0
        while is_time_left() and (count := self._evict_of_any(AT_A_SAVE)):
            evicted += count
        if not self.budgets.limits_repositories:
            return evicted
        ids = [*self.repositories.ids()]
        first = int(begin * len(ids))
        waiting = deque(ids[first:] + ids[:first])
        while waiting and is_time_left():
            repository_id = waiting.popleft()
            if count := self._evict_of(repository_id, AT_A_SAVE):
                evicted += count
                waiting.append(repository_id)
        return evicted

    def _evict_of(self, repository_id: str, most: int) -> int:
        if not self.budgets.limits_repositories:
            return 0
        return self._evict(
            lambda: self.budgets.is_repository_over(self.repositories.usage(repository_id)),
            lambda: self.table.stored_archives(repository_id),
            most,
        )

    def _evict_of_any(self, most: int) -> int:
        if self.budgets.store is None:
            return 0
        return self._evict(lambda: self.budgets.is_store_over(self.repositories.store_usage()), self._all_by_use, most)

    def _all_by_use(self) -> Iterator[Archive]:
        """Yield archives, the one used longest ago first. If there are very many repositories, sample them."""
        ids = self.repositories.ids()
        ids = random.sample(ids, MOST_ASKED) if len(ids) > MOST_ASKED else ids
        of_each = [self.table.stored_archives(repository_id, at_once=AT_A_SAVE) for repository_id in ids]
        return heapq.merge(*of_each, key=lambda archive: archive.last_used_at)

    def _last_use(self, archive: Archive) -> Millis:
        hits = self.repositories.hits_of(archive.name.family.repository, archive.id)
        return max(archive.last_used_at, hits.last_at)

    def _evict(self, is_over: Callable[[], bool], candidates: Callable[[], Iterator[Archive]], most: int) -> int:
        """Evict candidates, but read the usage again before each: others may be making the same room."""
        evicted = 0
        if not is_over():
            return evicted
        for used_at, archive in by_last_use(candidates(), self._last_use):
            if evicted >= most or not is_over():
                break
            if self.remove_entry(archive.id, self._unused_since(used_at)):
                evicted += 1
                self.telemetry.emit(events.evicted(archive))
        return evicted

    def _unused_since(self, used_at: Millis) -> Callable[[Archive], bool]:
        """Return the removal's condition. A use recorded after its check fails the write (design/decisions/0012)."""
        return lambda current: self._last_use(current) == used_at
