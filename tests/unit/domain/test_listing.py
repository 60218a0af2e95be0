"""Filters, orders and pages select the right entries, at each boundary too."""

import pytest

from actions_cache.domain.archive import Commit
from actions_cache.domain.entry import EntryFamily, EntryName
from actions_cache.domain.listing import Direction, EntryFilter, Order, Page, SortBy
from tests.unit.domain.build import NOW, stored_archive

KEY, REF, VERSION = "Linux-npm-1", "refs/heads/main", "v1"


def archive(key=KEY, ref=REF, version=VERSION, archive_id="a" * 32, size=30, **changes):
    name = EntryName(EntryFamily("42", ref, version), key)
    return stored_archive(name=name, id=archive_id, commit=Commit("digest", size, 3, None), **changes)


@pytest.mark.parametrize(
    ("fields", "matches"),
    [
        ({}, True),
        ({"key": KEY}, True),
        ({"key": KEY[:-1]}, False),
        ({"key": f"{KEY}0"}, False),
        ({"key": KEY.lower()}, False),
        ({"key_prefix": KEY}, True),
        ({"key_prefix": "Linux-"}, True),
        ({"key_prefix": "linux-"}, False),
        ({"key_prefix": "npm"}, False),
        ({"key_prefix": f"{KEY}0"}, False),
        ({"search": "NPM"}, True),
        ({"search": "yarn"}, False),
        ({"ref": REF}, True),
        ({"ref": "main"}, False),
        ({"ref": f"{REF}/"}, False),
        ({"version": VERSION}, True),
        ({"version": "v"}, False),
        ({"created_before": NOW}, False),
        ({"created_before": NOW + 1}, True),
        ({"unused_since": NOW + 500}, False),
        ({"unused_since": NOW + 501}, True),
        ({"key_prefix": "Linux-", "ref": REF, "version": VERSION, "created_before": NOW + 1}, True),
        ({"key_prefix": "Linux-", "ref": REF, "version": VERSION, "created_before": NOW}, False),
        ({"key_prefix": "Linux-", "ref": "refs/heads/other"}, False),
    ],
    ids=str,
)
def test_all_filter_fields_must_match(fields, matches):
    assert EntryFilter(**fields).matches(archive(last_used_at=NOW + 500)) is matches


@pytest.mark.parametrize(
    ("fields", "asks_nothing"),
    [({}, True), ({"key_prefix": ""}, True), ({"search": ""}, True), ({"key_prefix": "", "ref": "r"}, False)]
    + [({field: "x"}, False) for field in ("key", "key_prefix", "search", "ref", "version")]
    + [({field: 0}, False) for field in ("created_before", "unused_since")],
    ids=str,
)
def test_filter_without_criteria_is_empty(fields, asks_nothing):
    assert EntryFilter(**fields).asks_nothing is asks_nothing


OLD = archive("b", archive_id="1" * 32, size=3, stored_at=NOW, last_used_at=NOW + 9)
NEW = archive("a", archive_id="2" * 32, size=5, stored_at=NOW + 2, last_used_at=NOW + 8)
LAST = archive("c", archive_id="3" * 32, size=1, stored_at=NOW + 1, last_used_at=NOW + 7)


@pytest.mark.parametrize(
    ("by", "ascending"),
    [
        (SortBy.CREATED_AT, [OLD, LAST, NEW]),
        (SortBy.LAST_USED_AT, [LAST, NEW, OLD]),
        (SortBy.SIZE, [LAST, OLD, NEW]),
        (SortBy.KEY, [NEW, OLD, LAST]),
        (SortBy.HITS, [OLD, NEW, LAST]),
    ],
)
def test_each_order_sorts_both_ways(by, ascending):
    hits = {NEW.id: 1, LAST.id: 2}
    assert Order(by, Direction.ASCENDING).sort([NEW, OLD, LAST], hits) == ascending
    assert Order(by, Direction.DESCENDING).sort([NEW, OLD, LAST], hits) == ascending[::-1]


def test_ties_have_stable_order():
    alike = [archive(archive_id=digit * 32) for digit in "4567"]
    assert Order().sort(alike, {}) == Order().sort(alike[::-1], {})


@pytest.mark.parametrize(("number", "size", "range_"), [(1, 30, (0, 30)), (2, 30, (30, 60)), (3, 1, (2, 3))])
def test_pages_count_from_one(number, size, range_):
    page = Page(number, size)
    assert (page.start, page.end) == range_


@pytest.mark.parametrize(("total", "last"), [(0, 1), (1, 1), (30, 1), (31, 2), (60, 2), (61, 3)])
def test_last_page_holds_last_entry(total, last):
    assert Page(1, 30).last_of(total) == last
