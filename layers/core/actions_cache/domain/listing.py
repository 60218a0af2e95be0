"""What is asked of a repository's entries: which of them, in which order, and which page."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum

from actions_cache.domain.archive import Archive
from actions_cache.domain.timing import Millis

MAX_PER_PAGE = 100
"""As at GitHub."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFilter:
    """All that is given must hold; None asks for nothing.

    Args:
        key: the whole key.
        search: stands somewhere in the key, in any case of letters.
        ref: the scope, written out as in `refs/heads/main`.
        created_before, unused_since: moments; what was created, or last used, at one isn't before it.
    """

    key: str | None = None
    key_prefix: str | None = None
    search: str | None = None
    ref: str | None = None
    version: str | None = None
    created_before: Millis | None = None
    unused_since: Millis | None = None

    @property
    def asks_nothing(self) -> bool:
        """An empty beginning, or an empty search, is in every key."""
        return all(getattr(self, it.name) in (None, "") for it in fields(self))

    def matches(self, archive: Archive) -> bool:
        """Return whether the entry of a stored archive is asked for."""
        name = archive.name
        return (
            (self.key is None or name.key == self.key)
            and (self.key_prefix is None or name.key.startswith(self.key_prefix))
            and (self.search is None or self.search.casefold() in name.key.casefold())
            and (self.ref is None or name.family.scope == self.ref)
            and (self.version is None or name.family.version == self.version)
            and (self.created_before is None or archive.stored_at < self.created_before)
            and (self.unused_since is None or archive.last_used_at < self.unused_since)
        )


class SortBy(StrEnum):
    CREATED_AT = "created_at"
    LAST_USED_AT = "last_used_at"
    SIZE = "size"
    KEY = "key"
    HITS = "hits"


class Direction(StrEnum):
    ASCENDING = "asc"
    DESCENDING = "desc"


@dataclass(frozen=True, slots=True)
class Order:
    by: SortBy = SortBy.LAST_USED_AT
    direction: Direction = Direction.DESCENDING

    @property
    def is_descending(self) -> bool:
        return self.direction is Direction.DESCENDING

    def of(self, archives: Iterable[Archive], hits: Mapping[str, int]) -> Sequence[Archive]:
        """Alike ones by their ids, so that no page shows what another one did."""

        def place(archive: Archive) -> tuple[int | str, str]:
            value: int | str
            match self.by:
                case SortBy.CREATED_AT:
                    value = archive.stored_at
                case SortBy.LAST_USED_AT:
                    value = archive.last_used_at
                case SortBy.SIZE:
                    value = archive.size
                case SortBy.KEY:
                    value = archive.name.key
                case SortBy.HITS:
                    value = hits.get(archive.id, 0)
            return value, archive.id

        return sorted(archives, key=place, reverse=self.is_descending)


@dataclass(frozen=True, slots=True)
class Page:
    """Counted from 1."""

    number: int = 1
    size: int = 30

    @property
    def start(self) -> int:
        return (self.number - 1) * self.size

    @property
    def end(self) -> int:
        return self.number * self.size

    def last_of(self, total: int) -> int:
        """The number of the last page; 1 where there is nothing."""
        return max(1, -(-total // self.size))
