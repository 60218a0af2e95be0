"""Evict entries of a repository, or of the whole store, that is over its budget (docs/deploy/eviction.md)."""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from actions_cache import events
from actions_cache.archives import RemoveEntry
from actions_cache.domain.archive import Archive
from actions_cache.domain.budgets import NO_USAGE, Budgets, Usage
from actions_cache.domain.entry_class import EntryClass
from actions_cache.domain.eviction import Candidates
from actions_cache.domain.timing import Lifetimes, Millis
from actions_cache.ports import Repositories, Table, Telemetry

AT_A_SAVE = 25
"""Number of entries that a save tries to evict before it answers, some 20 ms each. More: slower saves. Fewer: more is
left for the schedule."""

SETTLES = 2
"""Number of times that the schedule waits for an index in one go, 2 s each. More: a run takes longer while somebody
saves without a break. Fewer: more is left for the next run."""

MOST_ASKED = 33
"""Number of repositories whose entries are compared when the store is over its budget, a query of some 10 ms for each
class. More: slower evictions. Fewer: an entry may be evicted before others that were nearer to the end of their
life."""

MOST_ASKED_AT_A_SAVE = 10
"""The same at a save, however many repositories there are. More: slower saves. Fewer: as for MOST_ASKED."""

Over = Callable[[], tuple[Usage, frozenset[EntryClass]]]
"""Returns the usage, and the classes that give way; none once the budget is kept."""

Counts = dict[EntryClass, tuple[int, int]]
"""Bytes and entries by class, as the usage counts them."""

OfClass = Callable[[EntryClass], Iterable[Archive]]
"""Returns the archives of a class by their last use."""


@dataclass(frozen=True, slots=True)
class Evict:
    """Removes entries until the budgets are kept.

    Args:
        table: the entries.
        repositories: their usage and hits.
        remove_entry: removes one.
        budgets: what is kept.
        lifetimes: durations from the settings.
        telemetry: is told of each eviction.
        settle: waits for as long as the index of stored archives may lag behind writes.
    """

    table: Table
    repositories: Repositories
    remove_entry: RemoveEntry
    budgets: Budgets
    lifetimes: Lifetimes
    telemetry: Telemetry
    settle: Callable[[], None]

    def after_save(self, saved: Archive) -> int:
        """Evict entries of this repository, and then of any while the store is over its budget.

        Args:
            saved: what was saved just now. It may be the first to go, though the index may not show it yet.

        Returns:
            How many entries were evicted.
        """
        repository_id = saved.name.family.repository
        evicted = self._evict(self._over_in(repository_id), _and_saved(saved, self._of(repository_id)), AT_A_SAVE)
        of_any = _and_saved(saved, self._of_any(repository_id))
        return evicted + self._evict(self._over_in_store, of_any, AT_A_SAVE - evicted)

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
        while is_time_left() and (count := self._evict(self._over_in_store, self._of_any(), AT_A_SAVE, SETTLES)):
            evicted += count
        if not self.budgets.limits_repositories:
            return evicted
        ids = [*self.repositories.ids()]
        first = int(begin * len(ids))
        waiting = deque(ids[first:] + ids[:first])
        while waiting and is_time_left():
            repository_id = waiting.popleft()
            if count := self._evict(self._over_in(repository_id), self._of(repository_id), AT_A_SAVE, SETTLES):
                evicted += count
                waiting.append(repository_id)
        return evicted

    def _over_in(self, repository_id: str) -> Over:
        def over() -> tuple[Usage, frozenset[EntryClass]]:
            usage = self.repositories.usage(repository_id) if self.budgets.limits_repositories else NO_USAGE
            return usage, self.budgets.over_in_repository(usage)

        return over

    def _over_in_store(self) -> tuple[Usage, frozenset[EntryClass]]:
        usage = NO_USAGE if self.budgets.store is None else self.repositories.store_usage()
        return usage, self.budgets.over_in_store(usage)

    def _of(self, repository_id: str) -> OfClass:
        return lambda entry_class: self.table.stored_archives(repository_id, entry_class=entry_class)

    def _of_any(self, *always: str) -> OfClass:
        """Return what reads a class in the whole store. If there are very many repositories, it samples them.

        Args:
            always: repositories that are never left out: the one that saves.
        """
        sampled: list[str] = []
        most = MOST_ASKED_AT_A_SAVE if always else MOST_ASKED

        def of_class(entry_class: EntryClass) -> Iterator[Archive]:
            if not sampled:
                others = [each for each in self.repositories.some_ids(most) if each not in always]
                sampled.extend([*always, *others[: most - len(always)]])
            of_each = [
                self.table.stored_archives(repository_id, entry_class=entry_class, at_once=AT_A_SAVE)
                for repository_id in sampled
            ]
            return heapq.merge(*of_each, key=lambda archive: archive.last_used_at)

        return of_class

    def _last_use(self, archive: Archive) -> Millis:
        hits = self.repositories.hits_of(archive.name.family.repository, archive.id)
        return max(archive.last_used_at, hits.last_at)

    def _evict(self, over: Over, of_class: OfClass, most: int, settles: int = 0) -> int:
        """Try to evict, but read the usage again before each eviction: others may be making the same room.

        Where a class lacks archives that the usage counts, nothing of another class goes instead, unless the class's
        count stays the same while the index settles: then nobody saves or evicts, and the count itself is wrong.

        Args:
            over: tells which classes give way.
            of_class: reads them.
            most: number of archives to try.
            settles: how often to wait where an index may lag; other evictions are left to the schedule's next run.
        """
        candidates, evicted = self._candidates(of_class), 0
        confirmed: Candidates | None = None
        unfound: Counts = {}
        for _ in range(most):
            usage, classes = over()
            if not classes:
                break
            counts = _counts(usage, candidates.lacking(classes))
            if not counts.items() <= unfound.items():
                if not settles:
                    break
                settles -= 1
                self.settle()
                candidates, unfound = self._candidates(of_class), counts
                continue
            found = candidates.take(classes)
            if found is None:
                break
            used_at, archive = found
            if confirmed is not candidates:
                # They were read after the usage, so somebody else may have made the room in between.
                confirmed = candidates
                usage, still = over()
                if still != classes or _counts(usage, counts) != counts:
                    candidates = self._candidates(of_class)
                    continue
            if self.remove_entry(archive.id, self._unused_since(used_at)):
                evicted += 1
                self.telemetry.emit(events.evicted(archive))
        return evicted

    def _candidates(self, of_class: OfClass) -> Candidates:
        return Candidates(of_class, self._last_use, self.lifetimes)

    def _unused_since(self, used_at: Millis) -> Callable[[Archive], bool]:
        """Return the removal's condition. A use recorded after its check fails the write (design/decisions/0012)."""
        return lambda current: self._last_use(current) == used_at


def _counts(usage: Usage, classes: Iterable[EntryClass]) -> Counts:
    return {entry_class: (usage.bytes_of(entry_class), usage.entries_of(entry_class)) for entry_class in classes}


def _and_saved(saved: Archive, of_class: OfClass) -> OfClass:
    """Return what reads a class with the archive that was saved last, whether or not the index shows it by now."""

    def with_saved(entry_class: EntryClass) -> Iterator[Archive]:
        is_missing = entry_class is saved.entry_class
        for archive in of_class(entry_class):
            is_missing = is_missing and archive.id != saved.id
            yield archive
        if is_missing:
            yield saved

    return with_saved
