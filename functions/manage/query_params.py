"""What requests ask for in their query.

A parameter that isn't known is refused: a misspelt filter would filter nothing.
"""

import re
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from actions_cache.domain.budgets import HOUR, TALLIES_KEPT
from actions_cache.domain.entry import MAX_NAME_CHARACTERS, MAX_RESTORE_KEYS
from actions_cache.domain.listing import MAX_PER_PAGE, Direction, EntryFilter, Order, Page, SortBy
from actions_cache.domain.timing import Millis
from actions_cache.explain import MAX_REFS
from actions_cache.http.schemas import parse_timestamp
from actions_cache.usage import USUAL_HOURS

Text = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)]


def _digits(value: object) -> object:
    """Raises ValueError for what pydantic takes for a number beside digits: `1.0`, `1_0`, `+1`, spaces."""
    if isinstance(value, str) and not re.fullmatch("-?[0-9]+", value):
        raise ValueError("it is no whole number in digits")
    return value


Digits = BeforeValidator(_digits)
PageNumber = Annotated[int, Digits, Field(ge=1, le=100_000)]
PerPage = Annotated[int, Digits, Field(ge=1, le=MAX_PER_PAGE)]
Hours = Annotated[int, Digits, Field(ge=1, le=TALLIES_KEPT // HOUR)]


class QueryParams(BaseModel):
    model_config = ConfigDict(extra="forbid")


class GithubSort(StrEnum):
    CREATED_AT = "created_at"
    LAST_ACCESSED_AT = "last_accessed_at"
    SIZE_IN_BYTES = "size_in_bytes"


_SORTED_BY = {
    GithubSort.CREATED_AT: SortBy.CREATED_AT,
    GithubSort.LAST_ACCESSED_AT: SortBy.LAST_USED_AT,
    GithubSort.SIZE_IN_BYTES: SortBy.SIZE,
}


class GithubList(QueryParams):
    key: Text | None = Field(None, description="a key, or its beginning")
    ref: Text | None = Field(None, description="in full, as in `refs/heads/main` or `refs/pull/7/merge`")
    sort: GithubSort = GithubSort.LAST_ACCESSED_AT
    direction: Direction = Direction.DESCENDING
    per_page: PerPage = 30
    page: PageNumber = 1

    def to_filter(self) -> tuple[EntryFilter, Order, Page]:
        order = Order(_SORTED_BY[self.sort], self.direction)
        return EntryFilter(key_prefix=self.key, ref=self.ref), order, Page(self.page, self.per_page)


class GithubDelete(QueryParams):
    key: Text = Field(description="the whole key")
    ref: Text | None = Field(None, description="in full; without it the entries of all refs go")

    def to_filter(self) -> EntryFilter:
        return EntryFilter(key=self.key, ref=self.ref)


class ListEntries(QueryParams):
    search: Text | None = Field(None, description="stands somewhere in the key, in any case of letters")
    key_prefix: Text | None = None
    ref: Text | None = None
    version: Text | None = None
    sort: SortBy = SortBy.LAST_USED_AT
    direction: Direction = Direction.DESCENDING
    per_page: PerPage = 30
    page: PageNumber = 1

    def to_filter(self) -> tuple[EntryFilter, Order, Page]:
        wanted = EntryFilter(search=self.search, key_prefix=self.key_prefix, ref=self.ref, version=self.version)
        return wanted, Order(self.sort, self.direction), Page(self.page, self.per_page)


class DeleteOne(QueryParams):
    dry_run: bool = False


class DeleteEntries(QueryParams):
    """At least one filter; all that are given must hold."""

    key: Text | None = Field(None, description="the whole key")
    key_prefix: Text | None = None
    ref: Text | None = None
    version: Text | None = None
    older_than: Text | None = Field(None, description="created before: an age like 30d or 12h, or a time with its zone")
    unused_since: Text | None = Field(None, description="not restored since: as older_than")
    dry_run: bool = False

    def to_filter(self, now: Millis) -> EntryFilter:
        """Raises InvalidRequest for a moment that can't be read."""
        return EntryFilter(
            key=self.key,
            key_prefix=self.key_prefix,
            ref=self.ref,
            version=self.version,
            created_before=None if self.older_than is None else parse_timestamp("older_than", self.older_than, now),
            unused_since=None if self.unused_since is None else parse_timestamp("unused_since", self.unused_since, now),
        )


class MatchKeys(QueryParams):
    repository: Text = Field(description="its id, or `owner/repository`")
    key: Text
    restore_key: list[Text] = Field([], max_length=MAX_RESTORE_KEYS, description="once for each, in their order")
    ref: list[Text] = Field(
        min_length=1, max_length=MAX_REFS, description="once for each that the job may read, in the order it does"
    )
    version: Text | None = Field(None, description="without it, each that such a key was saved with")


class ReadActivity(QueryParams):
    repository: Text | None = Field(None, description="its id, or `owner/repository`; without it, all together")
    hours: Hours = 24


class EstimateCost(QueryParams):
    hours: Hours = Field(USUAL_HOURS, description="that the month is taken to go on like")
