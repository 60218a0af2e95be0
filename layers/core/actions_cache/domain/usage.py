"""What a repository keeps, what it may keep, and what goes when that is too much."""

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from actions_cache.domain.archive import Archive
from actions_cache.domain.errors import TooLarge
from actions_cache.domain.timing import Millis


@dataclass(frozen=True, slots=True)
class Usage:
    """Of what jobs can find. What is being uploaded, and what outlives its entry by its readers' grace, isn't in it."""

    bytes: int = 0
    entries: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.bytes + other.bytes, self.entries + other.entries)

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(self.bytes - other.bytes, self.entries - other.entries)


NO_USAGE = Usage()


def total(usages: Iterable[Usage]) -> Usage:
    return sum(usages, NO_USAGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """Limits of bytes or, where the name says so, entries; None for no limit."""

    repository: int | None = None
    repository_entries: int | None = None
    store: int | None = None
    entry: int | None = None

    @property
    def limits_repositories(self) -> bool:
        return (self.repository, self.repository_entries) != (None, None)

    def is_repository_over(self, usage: Usage) -> bool:
        """Return whether either budget is exceeded: even an empty entry costs requests, and time in every listing."""
        return _is_over(usage.bytes, self.repository) or _is_over(usage.entries, self.repository_entries)

    def is_store_over(self, usage: Usage) -> bool:
        return _is_over(usage.bytes, self.store)

    def check_entry(self, size: int) -> None:
        """Raises TooLarge for an entry that no eviction makes room for."""
        limits = {
            "the most that one entry may have here (MAX_ENTRY_BYTES)": self.entry,
            "the whole budget of a repository here (REPOSITORY_BUDGET_BYTES)": self.repository,
            "the whole budget of this server (STORE_BUDGET_BYTES)": self.store,
        }
        for what, limit in limits.items():
            if limit is not None and size > limit:
                raise TooLarge(
                    f"the entry has {size} bytes, but {what} is {limit}; cache less, or ask this server's operator"
                )


def _is_over(used: int, budget: int | None) -> bool:
    return budget is not None and used > budget


def by_last_use(noted: Iterable[Archive], last_use: Callable[[Archive], Millis]) -> Iterator[tuple[Millis, Archive]]:
    """Least recently used first, with that use; each looked at no sooner than its turn comes.

    Args:
        noted: in the order of `last_used_at`, which lags behind the last use.
        last_use: asked once for each.
    """
    used_since: list[tuple[Millis, str, Archive]] = []
    for archive in noted:
        while used_since and used_since[0][0] <= archive.last_used_at:
            used_at, _, earlier = heapq.heappop(used_since)
            yield used_at, earlier
        if (used_at := last_use(archive)) > archive.last_used_at:
            heapq.heappush(used_since, (used_at, archive.id, archive))
        else:
            yield used_at, archive
    while used_since:
        used_at, _, archive = heapq.heappop(used_since)
        yield used_at, archive
