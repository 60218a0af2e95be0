"""Validate the parameters of requests, and translate them into the core's filters, orders and pages.

Unknown parameters are refused: a misspelt filter would filter nothing.
"""

import re
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

from fastapi import Path
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from actions_cache.domain.budgets import HOUR, TALLIES_KEPT
from actions_cache.domain.entry import MAX_NAME_CHARACTERS, MAX_NUMBER, MAX_RESTORE_KEYS
from actions_cache.domain.entry_class import EntryClass
from actions_cache.domain.errors import InvalidRequest
from actions_cache.domain.key_family import parse_family
from actions_cache.domain.listing import MAX_PER_PAGE, Direction, EntryFilter, Order, Page, SortBy
from actions_cache.domain.refs import full_ref
from actions_cache.domain.timing import Millis
from actions_cache.explain import MAX_REFS
from actions_cache.http.schemas import parse_as_of, parse_past
from actions_cache.usage import USUAL_HOURS

Text = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)]


def _ref(text: str) -> str:
    """Return the ref in full.

    Raises:
        ValueError: it is blank.
    """
    if not text.strip():
        raise ValueError("it is blank")
    return full_ref(text)


Ref = Annotated[
    Text,
    AfterValidator(_ref),
    Field(description="`main`, `#118` for a pull request, or in full: `refs/heads/main`, `refs/pull/118/merge`"),
]
"""A ref as people write it (domain/refs.py), which the model holds in full."""


def _digits(value: object) -> object:
    """Return the value unless it is a text that pydantic takes for a number although it isn't all digits.

    Raises:
        ValueError: it is `1.0`, `1_0`, `+1` or has spaces, say.
    """
    if isinstance(value, str) and not re.fullmatch("-?[0-9]+", value):
        raise ValueError("it is no whole number in digits")
    return value


Digits = BeforeValidator(_digits)
EntryNumber = Annotated[int, Digits, Path(ge=0, lt=MAX_NUMBER)]
PageNumber = Annotated[int, Digits, Field(ge=1, le=100_000)]
PerPage = Annotated[int, Digits, Field(ge=1, le=MAX_PER_PAGE)]
Hours = Annotated[int, Digits, Field(ge=1, le=TALLIES_KEPT // HOUR)]


class QueryParams(BaseModel):
    model_config = ConfigDict(extra="forbid")


def check_given_once(names: Iterable[str]) -> None:
    """Check the names of a request's parameters, none of which may be repeated: only the last value would count.

    Raises:
        InvalidRequest: one is repeated.
    """
    for name, times in Counter(names).items():
        if times > 1:
            raise InvalidRequest(f"{name[:100]!r} is given {times} times; give each parameter once")


class GithubSort(StrEnum):
    CREATED_AT = "created_at"
    LAST_ACCESSED_AT = "last_accessed_at"
    SIZE_IN_BYTES = "size_in_bytes"


_SORTED_BY = {
    GithubSort.CREATED_AT: SortBy.CREATED_AT,
    GithubSort.LAST_ACCESSED_AT: SortBy.LAST_USED_AT,
    GithubSort.SIZE_IN_BYTES: SortBy.SIZE,
}


class GithubPage(QueryParams):
    per_page: PerPage = 30
    page: PageNumber = 1

    def to_page(self) -> Page:
        return Page(self.page, self.per_page)


class GithubList(GithubPage):
    key: Text | None = Field(None, description="a key, or its beginning")
    ref: Ref | None = None
    sort: GithubSort = GithubSort.LAST_ACCESSED_AT
    direction: Direction = Direction.DESCENDING

    def to_query(self) -> tuple[EntryFilter, Order, Page]:
        order = Order(_SORTED_BY[self.sort], self.direction)
        return EntryFilter(key_prefix=self.key, ref=self.ref), order, self.to_page()


class GithubDelete(QueryParams):
    key: Text = Field(description="the whole key")
    ref: Ref | None = Field(None, description="`main`, `#118`, or in full; without it, all refs' entries are deleted")

    def to_filter(self) -> EntryFilter:
        return EntryFilter(key=self.key, ref=self.ref)


class EntryFilters(QueryParams):
    """Filters; entries must match all that are given."""

    key: Text | None = Field(None, description="the whole key")
    key_prefix: Text | None = None
    search: Text | None = Field(None, description="a part of the key, in upper or lower case")
    ref: Ref | None = None
    version: Text | None = None
    entry_class: EntryClass | None = None
    family: Text | None = Field(None, description="a key family, as in `npm-*`; `/manage/families` has them")
    older_than: Text | None = Field(None, description="saved before: an age like 30d or 12h, or a time with its zone")
    unused_since: Text | None = Field(None, description="neither saved nor restored since: as older_than")

    def to_filter(self, now: Millis) -> EntryFilter:
        """Return the filter, with ages counted back from now.

        Raises:
            InvalidRequest: a time can't be parsed or isn't in the past, or the family is a key.
        """
        return EntryFilter(
            key=self.key,
            key_prefix=self.key_prefix,
            search=self.search,
            ref=self.ref,
            version=self.version,
            entry_class=self.entry_class,
            family=None if self.family is None else parse_family("family", self.family),
            created_before=None if self.older_than is None else parse_past("older_than", self.older_than, now),
            unused_since=None if self.unused_since is None else parse_past("unused_since", self.unused_since, now),
        )


class ListEntries(EntryFilters):
    sort: SortBy = SortBy.LAST_USED_AT
    direction: Direction = Direction.DESCENDING
    per_page: PerPage = 30
    page: PageNumber = 1

    def to_query(self, now: Millis) -> tuple[EntryFilter, Order, Page]:
        """Return the filter, order and page.

        Raises:
            InvalidRequest: as to_filter.
        """
        return self.to_filter(now), Order(self.sort, self.direction), Page(self.page, self.per_page)


class DeleteOne(QueryParams):
    dry_run: bool = Field(default=True, description="false deletes; else the answer only says what would be deleted")


class DeleteEntries(EntryFilters, DeleteOne):
    """Filters for a deletion, of which at least one must be given; entries must match all that are."""

    as_of: Text | None = Field(
        None, description="that of a preview: what was saved since then stays, and ages count back from it"
    )

    def to_as_of(self, now: Millis) -> Millis | None:
        """Return the time of the preview that the deletion follows.

        Raises:
            InvalidRequest: it can't be parsed, or is in the future.
        """
        return None if self.as_of is None else parse_as_of(self.as_of, now)


class MatchKeys(QueryParams):
    repository: Text = Field(description="its id, or `owner/repository`")
    key: Text
    restore_key: list[Text] = Field([], max_length=MAX_RESTORE_KEYS, description="once for each, in their order")
    ref: list[Ref] = Field(
        min_length=1, max_length=MAX_REFS, description="once for each ref that the job may read, in its order"
    )
    version: Text | None = Field(None, description="without it, all versions that such a key was saved with")


class ReadActivity(QueryParams):
    repository: Text | None = Field(None, description="its id, or `owner/repository`; without it, all together")
    hours: Hours = 24


class ReadFamilies(QueryParams):
    repository: Text = Field(description="its id, or `owner/repository`")
    hours: Hours = Field(USUAL_HOURS, description="the last hours, this one included")


class EstimateCost(QueryParams):
    hours: Hours = Field(USUAL_HOURS, description="the last hours, which the month is taken to go on like")
