"""Each parameter of a query becomes the filter, order or page that it names."""

from dataclasses import fields
from typing import Any

import pytest

from actions_cache.domain.entry_class import EntryClass
from actions_cache.domain.errors import InvalidRequest
from actions_cache.domain.listing import Direction, EntryFilter, Order, Page, SortBy
from actions_cache.domain.timing import DAY, SECOND
from actions_cache.http.schemas import CLOCKS_DIFFER, format_timestamp
from functions.manage.query_params import DeleteEntries, DeleteOne, GithubDelete, GithubList, GithubSort, ListEntries
from tests.unit.domain.build import NOW

FIELDS: dict[str, Any] = {"key": "k", "key_prefix": "p", "search": "s", "version": "v", "family": "npm-*"}
FIELDS |= {"ref": "refs/heads/r", "entry_class": EntryClass.BRANCH}
AGES = {"older_than": "30d", "unused_since": "12h"}
FILTER = EntryFilter(**FIELDS, created_before=NOW - 30 * DAY, unused_since=NOW - 12 * 3600 * SECOND)


def test_list_and_deletion_take_the_same_filters():
    params = ListEntries(**FIELDS, **AGES, sort=SortBy.SIZE, direction=Direction.ASCENDING, per_page=7, page=3)
    assert params.to_query(NOW) == (FILTER, Order(SortBy.SIZE, Direction.ASCENDING), Page(3, 7))
    usual = EntryFilter(), Order(SortBy.LAST_USED_AT, Direction.DESCENDING), Page(1, 30)
    assert ListEntries().to_query(NOW) == usual
    assert DeleteEntries(**FIELDS, **AGES).to_filter(NOW) == FILTER
    assert DeleteEntries().to_filter(NOW).asks_nothing
    assert all(getattr(FILTER, field.name) is not None for field in fields(EntryFilter)), "a filter has no parameter"


def test_deletion_is_dry_unless_said_otherwise():
    for params in (DeleteEntries, DeleteOne):
        assert params().dry_run
        assert not params(dry_run=False).dry_run


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"older_than": "0s"}, "older_than: '0s' leaves no entry out: give at least 1s"),
        ({"unused_since": "0d"}, "unused_since: '0d' leaves no entry out"),
        ({"older_than": format_timestamp(NOW + SECOND)}, "leaves no entry out"),
        ({"family": "npm-1"}, r"family: 'npm-1' is no key family; such keys belong to 'npm-\*'"),
    ],
)
def test_unclear_filter_is_refused_in_words(given, said):
    for params in (ListEntries, DeleteEntries):
        with pytest.raises(InvalidRequest, match=said):
            params(**given).to_filter(NOW)


def test_preview_time_is_no_later_than_now():
    assert DeleteEntries().to_as_of(NOW) is None
    for at in (0, NOW, NOW + CLOCKS_DIFFER):
        assert DeleteEntries(as_of=format_timestamp(at)).to_as_of(NOW) == at
    with pytest.raises(InvalidRequest, match=r"as_of: .* is in the future"):
        DeleteEntries(as_of=format_timestamp(NOW + CLOCKS_DIFFER + 1)).to_as_of(NOW)


def test_github_deletion_query_becomes_filter():
    assert GithubDelete(key="k", ref="refs/heads/r").to_filter() == EntryFilter(key="k", ref="refs/heads/r")
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
    params = GithubList(key="p", ref="refs/heads/r", sort=sort, direction=Direction.ASCENDING, per_page=7, page=3)
    expected = EntryFilter(key_prefix="p", ref="refs/heads/r"), Order(by, Direction.ASCENDING), Page(3, 7)
    assert params.to_query() == expected
