"""Count what repositories keep and what jobs do, and decide which classes give way when a budget is exceeded."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Self

from actions_cache.domain.archive import Archive
from actions_cache.domain.entry_class import EntryClass
from actions_cache.domain.errors import TooLarge
from actions_cache.domain.timing import DAY, SECOND, Millis


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts what jobs can find: neither unfinished uploads, nor archives that outlive their entry by the grace.

    What no class has been counted for is the default branch's, as in usage that older releases counted.
    """

    bytes: int = 0
    entries: int = 0
    branch_bytes: int = 0
    branch_entries: int = 0
    transient_bytes: int = 0
    transient_entries: int = 0

    @classmethod
    def of(cls, archive: Archive) -> Self:
        size = archive.size
        match archive.entry_class:
            case EntryClass.BRANCH:
                return cls(size, 1, branch_bytes=size, branch_entries=1)
            case EntryClass.TRANSIENT:
                return cls(size, 1, transient_bytes=size, transient_entries=1)
        return cls(size, 1)

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(*(getattr(self, field.name) - getattr(other, field.name) for field in fields(self)))

    def bytes_of(self, entry_class: EntryClass) -> int:
        match entry_class:
            case EntryClass.BRANCH:
                return self.branch_bytes
            case EntryClass.TRANSIENT:
                return self.transient_bytes
        return self.bytes - self.branch_bytes - self.transient_bytes

    def entries_of(self, entry_class: EntryClass) -> int:
        match entry_class:
            case EntryClass.BRANCH:
                return self.branch_entries
            case EntryClass.TRANSIENT:
                return self.transient_entries
        return self.entries - self.branch_entries - self.transient_entries


NO_USAGE = Usage()


def total(usages: Iterable[Usage]) -> Usage:
    return sum(usages, NO_USAGE)


FLOOR_DIVISOR = 10
"""Each class keeps a tenth of a budget, whatever the others save. A smaller divisor: pull requests keep more of their
own where the default branch fills the budget. A larger one: the default branch keeps more. At least one class is always
above its floor while the budget is exceeded, since all floors together are less than the budget."""


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

    def over_in_repository(self, usage: Usage) -> frozenset[EntryClass]:
        """Return the classes that give way; none while the repository keeps its budgets.

        There is one of bytes and one of entries, since even empty ones cost time.
        """
        return _above_floor(usage, self.repository, self.repository_entries)

    def over_in_store(self, usage: Usage) -> frozenset[EntryClass]:
        """Return the classes that give way; none while all repositories together keep the store's budget."""
        return _above_floor(usage, self.store, None)

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


def _above_floor(usage: Usage, most_bytes: int | None, most_entries: int | None) -> frozenset[EntryClass]:
    """Return the classes that have more than their floor of an exceeded budget; none if no budget is exceeded."""
    bytes_over = most_bytes is not None and usage.bytes > most_bytes
    entries_over = most_entries is not None and usage.entries > most_entries
    return frozenset(
        entry_class
        for entry_class in EntryClass
        if (bytes_over and usage.bytes_of(entry_class) > (most_bytes or 0) // FLOOR_DIVISOR)
        or (entries_over and usage.entries_of(entry_class) > (most_entries or 0) // FLOOR_DIVISOR)
    )


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


@dataclass(frozen=True, slots=True)
class RepositoryUsage:
    """Says what a repository keeps.

    Args:
        repository: the repository.
        usage: what it keeps.
        last_used_at: time of its last save or restore; None if it keeps nothing.
        noted_at: time when this was noted; 0 if it was read just now.
    """

    repository: Repository
    usage: Usage
    last_used_at: Millis | None
    noted_at: Millis = 0


def is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def may_be_id(text: str) -> bool:
    """Return whether the text can be a partition key, and so an id."""
    return 0 < len(text.encode(errors="replace")) <= MAX_ID_BYTES


def same_name(one: str | None, other: str) -> bool:
    """Return whether two names are the same to GitHub, in upper or lower case."""
    return one is not None and one.lower() == other.lower()


def has_owner(name: str | None, owner: str) -> bool:
    """Return whether a name begins with this owner, in upper or lower case."""
    return name is not None and name.partition("/")[0].lower() == owner.lower()


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
        bytes_direct: those of `bytes_saved` whose blocks went straight into S3, past the edge.
    """

    hits: int = 0
    partial_hits: int = 0
    misses: int = 0
    saves: int = 0
    bytes_restored: int = 0
    bytes_saved: int = 0
    bytes_direct: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(**{field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)})


@dataclass(frozen=True, slots=True)
class Hits:
    """Counts how often an entry was found, and when last: exactly, unlike an archive's `last_used_at`."""

    count: int = 0
    last_at: Millis = 0

    def __add__(self, other: "Hits") -> "Hits":
        return Hits(self.count + other.count, max(self.last_at, other.last_at))


NO_HITS = Hits()


def hour_of(at: Millis) -> Millis:
    return at - at % HOUR
