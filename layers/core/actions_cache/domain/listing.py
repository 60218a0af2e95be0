"""Select, sum up, sort and page the entries of a repository."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Self

from actions_cache.domain.archive import Archive
from actions_cache.domain.budgets import NO_USAGE, Usage, total
from actions_cache.domain.entry_class import EntryClass
from actions_cache.domain.key_family import key_family
from actions_cache.domain.timing import Millis

MAX_PER_PAGE = 100
"""Maximum number of entries on a page; GitHub allows as many."""

MOST_REFS = 100
"""Refs that are summed up one by one. More: longer answers about repositories with a ref for each pull request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFilter:
    """Selects the entries that match every given field.

    Args:
        key: the whole key.
        key_prefix: beginning of the key.
        search: part of the key, in upper or lower case.
        ref: the scope in full, as in `refs/heads/main`.
        entry_class: the class that decides how long the entry lives.
        family: the key family, as in `npm-*`.
        created_before: an entry created at this very time isn't selected.
        unused_since: an entry last used at this very time isn't selected.
    """

    key: str | None = None
    key_prefix: str | None = None
    search: str | None = None
    ref: str | None = None
    version: str | None = None
    entry_class: EntryClass | None = None
    family: str | None = None
    created_before: Millis | None = None
    unused_since: Millis | None = None

    @property
    def asks_nothing(self) -> bool:
        """Return whether every entry matches; an empty prefix or search is in every key."""
        return all(getattr(self, field.name) in (None, "") for field in fields(self))

    def matches(self, archive: Archive) -> bool:
        """Return whether the entry of a stored archive is selected."""
        name = archive.name
        return (
            (self.key is None or name.key == self.key)
            and (self.key_prefix is None or name.key.startswith(self.key_prefix))
            and (self.search is None or self.search.casefold() in name.key.casefold())
            and (self.ref is None or name.family.scope == self.ref)
            and (self.version is None or name.family.version == self.version)
            and (self.entry_class is None or archive.entry_class is self.entry_class)
            and (self.created_before is None or archive.stored_at < self.created_before)
            and (self.unused_since is None or archive.last_used_at < self.unused_since)
            and (self.family is None or key_family(name.key) == self.family)
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """Sums up entries.

    Args:
        usage: all of them, by class too.
        by_ref: those of MOST_REFS refs, the refs with the most bytes first.
        other_refs: those of all other refs together.
    """

    usage: Usage
    by_ref: Mapping[str, Usage]
    other_refs: Usage = NO_USAGE

    @classmethod
    def of(cls, archives: Iterable[Archive]) -> Self:
        found: dict[str, Usage] = {}
        for archive in archives:
            scope = archive.name.family.scope
            found[scope] = found.get(scope, NO_USAGE) + Usage.of(archive)
        ordered = sorted(found.items(), key=lambda item: (-item[1].bytes, item[0]))
        others = total(usage for _, usage in ordered[MOST_REFS:])
        return cls(total(found.values()), dict(ordered[:MOST_REFS]), others)


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

    def sort(self, archives: Iterable[Archive], hits: Mapping[str, int]) -> Sequence[Archive]:
        """Return the archives in this order; ties are sorted by id, so that no entry appears on two pages."""

        def sort_key(archive: Archive) -> tuple[int | str, str]:
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

        return sorted(archives, key=sort_key, reverse=self.is_descending)


@dataclass(frozen=True, slots=True)
class Page:
    """Designates a page; the first is number 1."""

    number: int = 1
    size: int = 30

    @property
    def start(self) -> int:
        return (self.number - 1) * self.size

    @property
    def end(self) -> int:
        return self.number * self.size

    def last_of(self, total: int) -> int:
        """Return the number of the last page; 1 if there are no entries."""
        return max(1, -(-total // self.size))
