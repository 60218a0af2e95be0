"""Decide which entry is evicted next: of the classes that give way, the one that is nearest to the end of its life."""

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

from actions_cache.domain.archive import Archive, ends_at
from actions_cache.domain.entry_class import EntryClass
from actions_cache.domain.timing import Lifetimes, Millis

LastUse = Callable[[Archive], Millis]
"""Returns the exact time of an archive's last use."""

Used = tuple[Millis, Archive]
"""An archive with the time of its last use."""

MOST_HELD = 100
"""Archives of one class that were used since the noted time and are held to be compared, a read each. More: the order
is exact in busier repositories. Fewer: fewer reads."""


@dataclass(slots=True)
class Candidates:
    """Yields archives in the order of their eviction, and reads no more of them than needed.

    Args:
        of_class: returns the archives that are filed under a class, in the order of `last_used_at`. Those that an older
            release wrote are filed under the default branch's, whatever their class is.
        last_use: called once for each archive.
        lifetimes: durations from the settings.
    """

    of_class: Callable[[EntryClass], Iterable[Archive]]
    last_use: LastUse
    lifetimes: Lifetimes
    _rest: dict[EntryClass, Iterator[Used]] = field(default_factory=dict)
    _heads: dict[EntryClass, Used | None] = field(default_factory=dict)

    def lacking(self, classes: Iterable[EntryClass]) -> frozenset[EntryClass]:
        """Return which of these classes have no archive here, or none any more.

        A class that gives way has archives. It lacks them here if an index doesn't show them yet, if they were saved
        since, if it isn't among the repositories that are compared, or if it is counted wrong.
        """
        return frozenset(entry_class for entry_class in classes if self._head(entry_class) is None)

    def take(self, classes: Collection[EntryClass]) -> Used | None:
        """Return the next archive of these classes, or of any class if they have none; None if there is none at all."""
        heads = {entry_class: self._head(entry_class) for entry_class in classes}
        if not any(heads.values()):
            heads = {entry_class: self._head(entry_class) for entry_class in EntryClass}
        known = [(self._order(*head), entry_class, head) for entry_class, head in heads.items() if head is not None]
        if not known:
            return None
        _, entry_class, head = min(known)
        del self._heads[entry_class]
        return head

    def _head(self, entry_class: EntryClass) -> Used | None:
        if entry_class not in self._rest:
            self._rest[entry_class] = by_last_use(self.of_class(entry_class), self.last_use)
        if entry_class not in self._heads:
            self._heads[entry_class] = next(self._rest[entry_class], None)
        return self._heads[entry_class]

    def _order(self, used_at: Millis, archive: Archive) -> tuple[Millis, str]:
        return ends_at(archive, used_at, self.lifetimes), archive.id


def by_last_use(noted: Iterable[Archive], last_use: LastUse) -> Iterator[Used]:
    """Yield archives with the time of their last use, the least recently used first, and read no more than needed.

    Where more than MOST_HELD were used since the noted time, the order is only nearly right.

    Args:
        noted: archives in the order of `last_used_at`, which lags behind the last use.
        last_use: returns the time of an archive's last use; called once for each.
    """
    used_since: list[tuple[Millis, str, Archive]] = []
    for archive in noted:
        while used_since and (used_since[0][0] <= archive.last_used_at or len(used_since) >= MOST_HELD):
            used_at, _, earlier = heapq.heappop(used_since)
            yield used_at, earlier
        if (used_at := last_use(archive)) > archive.last_used_at:
            heapq.heappush(used_since, (used_at, archive.id, archive))
        else:
            yield used_at, archive
    while used_since:
        used_at, _, archive = heapq.heappop(used_since)
        yield used_at, archive
