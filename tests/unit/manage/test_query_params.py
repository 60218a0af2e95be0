"""Each parameter of a query becomes the filter, order or page that it names."""

from typing import Any

import pytest

from actions_cache.domain.listing import Direction, EntryFilter, Order, Page, SortBy
from actions_cache.domain.timing import DAY, SECOND
from functions.manage.query_params import DeleteEntries, GithubDelete, GithubList, GithubSort, ListEntries
from tests.unit.domain.build import NOW


def test_list_query_becomes_filter():
    fields: dict[str, Any] = {"search": "s", "key_prefix": "p", "ref": "r", "version": "v"}
    params = ListEntries(**fields, sort=SortBy.SIZE, direction=Direction.ASCENDING, per_page=7, page=3)
    assert params.to_query() == (EntryFilter(**fields), Order(SortBy.SIZE, Direction.ASCENDING), Page(3, 7))
    assert ListEntries().to_query() == (EntryFilter(), Order(SortBy.LAST_USED_AT, Direction.DESCENDING), Page(1, 30))


def test_deletion_query_becomes_filter():
    fields: dict[str, Any] = {"key": "k", "key_prefix": "p", "ref": "r", "version": "v"}
    params = DeleteEntries(**fields, older_than="30d", unused_since="12h")
    moments: dict[str, Any] = {"created_before": NOW - 30 * DAY, "unused_since": NOW - 12 * 3600 * SECOND}
    assert params.to_filter(NOW) == EntryFilter(**fields, **moments)
    assert DeleteEntries().to_filter(NOW).asks_nothing
    assert GithubDelete(key="k", ref="r").to_filter() == EntryFilter(key="k", ref="r")
    assert GithubDelete(key="k").to_filter() == EntryFilter(key="k")


@pytest.mark.parametrize(
    ("sort", "by"),
    [
        (GithubSort.CREATED_AT, SortBy.CREATED_AT),
        (GithubSort.LAST_ACCESSED_AT, SortBy.LAST_USED_AT),
        (GithubSort.SIZE_IN_BYTES, SortBy.SIZE),
    ],
)
def test_github_list_query_becomes_filter(sort, by):
    params = GithubList(key="p", ref="r", sort=sort, direction=Direction.ASCENDING, per_page=7, page=3)
    expected = EntryFilter(key_prefix="p", ref="r"), Order(by, Direction.ASCENDING), Page(3, 7)
    assert params.to_query() == expected
