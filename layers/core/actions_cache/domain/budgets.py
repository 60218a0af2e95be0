"""Count what repositories keep and what jobs do, and decide what is evicted when a budget is exceeded."""

import heapq
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields

from actions_cache.domain.archive import Archive
from actions_cache.domain.errors import TooLarge
from actions_cache.domain.timing import DAY, SECOND, Millis


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts what jobs can find: neither unfinished uploads, nor archives that outlive their entry by the grace."""

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
    """Limits bytes, or entries where the name says so; None means no limit."""

    repository: int | None = None
    repository_entries: int | None = None
    store: int | None = None
    entry: int | None = None

    @property
    def limits_repositories(self) -> bool:
        return (self.repository, self.repository_entries) != (None, None)

    def is_repository_over(self, usage: Usage) -> bool:
        """Return whether a budget is exceeded: of bytes, or of entries, since even empty ones cost time."""
        return _is_over(usage.bytes, self.repository) or _is_over(usage.entries, self.repository_entries)

    def is_store_over(self, usage: Usage) -> bool:
        return _is_over(usage.bytes, self.store)

    def check_entry(self, size: int) -> None:
        """Check that evictions can make room for an entry.

        Raises:
            TooLarge: they can't.
        """
        limits = {
            "the most that one entry may have here (MAX_ENTRY_BYTES)": self.entry,
            "the whole budget of a repository here (REPOSITORY_BUDGET_BYTES)": self.repository,
            "the whole budget of this server (STORE_BUDGET_BYTES)": self.store,
        }
        for name, limit in limits.items():
            if limit is not None and size > limit:
                raise TooLarge(
                    f"the entry has {size} bytes, but {name} is {limit}; cache less, or ask this server's operator"
                )


def _is_over(used: int, budget: int | None) -> bool:
    return budget is not None and used > budget


def by_last_use(noted: Iterable[Archive], last_use: Callable[[Archive], Millis]) -> Iterator[tuple[Millis, Archive]]:
    """Yield archives with the time of their last use, the least recently used first, and read no more than needed.

    Args:
        noted: archives in the order of `last_used_at`, which lags behind the last use.
        last_use: returns the time of an archive's last use; called once for each.
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
"""Maximum length of a DynamoDB partition key."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}")


@dataclass(frozen=True, slots=True)
class Repository:
    """Describes a repository whose jobs have sent a token.

    Args:
        id: unique among all issuers.
        name: `owner/repository` as the last token named it; None if no token does.
        noted_at: when the name was noted.
    """

    id: str
    name: str | None
    noted_at: Millis


def is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def may_be_id(text: str) -> bool:
    """Return whether the text can be a partition key, and so an id."""
    return 0 < len(text.encode(errors="replace")) <= MAX_ID_BYTES


def same_name(one: str | None, other: str) -> bool:
    """Return whether two names are the same to GitHub, in upper or lower case."""
    return one is not None and one.lower() == other.lower()


HOUR: Millis = 3600 * SECOND

TALLIES_KEPT: Millis = 35 * DAY
"""Time that hourly tallies are kept. Longer: older days can be looked at. Shorter: fewer items."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Adds up what jobs did in an hour.

    Bytes are the entries' sizes, since nobody here sees how much a client reads from a URL of S3.

    Args:
        hits: restores, partial ones included.
        partial_hits: restores of another key than the job's first.
    """

    hits: int = 0
    partial_hits: int = 0
    misses: int = 0
    saves: int = 0
    bytes_restored: int = 0
    bytes_saved: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(**{field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)})


@dataclass(frozen=True, slots=True)
class Hits:
    """Counts how often an entry was found, and when last: exactly, unlike an archive's `last_used_at`."""

    count: int = 0
    last_at: Millis = 0


NO_HITS = Hits()


def hour_of(at: Millis) -> Millis:
    return at - at % HOUR
