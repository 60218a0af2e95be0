"""Each parameter of a query becomes the filter, order or page that it names."""

import pytest

from actions_cache.domain.listing import Direction, EntryFilter, Order, Page, SortBy
from actions_cache.domain.timing import DAY, SECOND
from functions.manage.query_params import DeleteEntries, GithubDelete, GithubList, GithubSort, ListEntries
from tests.unit.domain.build import NOW


def test_list_query_becomes_filter():
    params = ListEntries(
        search="s",
        key_prefix="p",
        ref="r",
        version="v",
        sort=SortBy.SIZE,
        direction=Direction.ASCENDING,
        per_page=7,
        page=3,
    )
    expected = EntryFilter(search="s", key_prefix="p", ref="r", version="v")
    assert params.to_query() == (expected, Order(SortBy.SIZE, Direction.ASCENDING), Page(3, 7))
    assert ListEntries().to_query() == (EntryFilter(), Order(SortBy.LAST_USED_AT, Direction.DESCENDING), Page(1, 30))


def test_deletion_query_becomes_filter():
    params = DeleteEntries(key="k", key_prefix="p", ref="r", version="v", older_than="30d", unused_since="12h")
    assert params.to_filter(NOW) == EntryFilter(
        key="k",
        key_prefix="p",
        ref="r",
        version="v",
        created_before=NOW - 30 * DAY,
        unused_since=NOW - 12 * 3600 * SECOND,
    )
    assert DeleteEntries().to_filter(NOW).asks_nothing


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


def test_github_deletion_query_becomes_filter():
    assert GithubDelete(key="k", ref="r").to_filter() == EntryFilter(key="k", ref="r")
    assert GithubDelete(key="k").to_filter() == EntryFilter(key="k")
