"""What a repository keeps, what it may keep, and what goes when that is too much."""

import heapq
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields

from actions_cache.domain.archive import Archive
from actions_cache.domain.errors import TooLarge
from actions_cache.domain.timing import DAY, SECOND, Millis


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


MAX_ID_BYTES = 2048

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}")


@dataclass(frozen=True, slots=True)
class Repository:
    """One that a token has named.

    Args:
        id: of one issuer and of no other.
        name: `owner/repository` as its last token said; None where no token says it.
        noted_at: when the name was noted.
    """

    id: str
    name: str | None
    noted_at: Millis


def is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def may_be_id(text: str) -> bool:
    """Return whether a table has room for it: a partition key has 2,048 bytes, and one at least."""
    return 0 < len(text.encode(errors="replace")) <= MAX_ID_BYTES


def same_name(one: str | None, other: str) -> bool:
    """GitHub takes names in any case."""
    return one is not None and one.lower() == other.lower()


HOUR: Millis = 3600 * SECOND

TALLIES_KEPT: Millis = 35 * DAY
"""Longer: older days can be looked at. Shorter: fewer items."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Bytes are those of the entries: what a client does with a URL that leads to S3, nobody here sees."""

    hits: int = 0
    misses: int = 0
    saves: int = 0
    bytes_restored: int = 0
    bytes_saved: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(**{it.name: getattr(self, it.name) + getattr(other, it.name) for it in fields(self)})


@dataclass(frozen=True, slots=True)
class Hits:
    """How often an entry was found, and when last: to the moment, unlike an archive's `last_used_at`."""

    count: int = 0
    last_at: Millis = 0


NO_HITS = Hits()


def hour_of(at: Millis) -> Millis:
    return at - at % HOUR
