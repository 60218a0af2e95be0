"""Filters, orders and pages select the right entries, at each boundary too."""

from typing import Any

import pytest

from actions_cache.domain import listing
from actions_cache.domain.archive import Commit
from actions_cache.domain.budgets import Usage
from actions_cache.domain.entry import EntryFamily, EntryName
from actions_cache.domain.entry_class import EntryClass
from actions_cache.domain.listing import Direction, EntryFilter, Order, Page, SortBy, Summary
from tests.unit.domain.build import NOW, stored_archive

KEY, REF, VERSION = "Linux-npm-1", "refs/heads/main", "v1"


def archive(key=KEY, ref=REF, version=VERSION, archive_id="a" * 32, size=30, **changes):
    name = EntryName(EntryFamily("42", ref, version), key)
    return stored_archive(name=name, id=archive_id, commit=Commit("digest", size, 3, None), **changes)


MATCHING: list[dict[str, Any]] = [
    {},
    {"key": KEY},
    {"key_prefix": KEY},
    {"key_prefix": "Linux-"},
    {"search": "NPM"},
    {"ref": REF},
]
MATCHING += [{"version": VERSION}, {"created_before": NOW + 1}, {"unused_since": NOW + 501}]
MATCHING += [{"key_prefix": "Linux-", "ref": REF, "version": VERSION, "created_before": NOW + 1}]
MATCHING += [{"entry_class": EntryClass.DEFAULT_BRANCH}, {"family": "Linux-npm-*", "search": "npm"}]
OTHERS: list[dict[str, Any]] = [
    {"key": KEY[:-1]},
    {"key": f"{KEY}0"},
    {"key": KEY.lower()},
    {"key_prefix": "linux-"},
    {"key_prefix": "npm"},
]
OTHERS += [{"key_prefix": f"{KEY}0"}, {"search": "yarn"}, {"ref": "main"}, {"ref": f"{REF}/"}, {"version": "v"}]
OTHERS += [{"created_before": NOW}, {"unused_since": NOW + 500}, {"key_prefix": "Linux-", "ref": "refs/heads/other"}]
OTHERS += [{"key_prefix": "Linux-", "ref": REF, "version": VERSION, "created_before": NOW}]
OTHERS += [{"entry_class": EntryClass.BRANCH}, {"entry_class": EntryClass.TRANSIENT}]
OTHERS += [{"family": family} for family in (KEY, "Linux-*", "Linux-npm-", "*")]


@pytest.mark.parametrize("fields", [*MATCHING, *OTHERS], ids=str)
def test_all_filter_fields_must_match(fields):
    assert EntryFilter(**fields).matches(archive(last_used_at=NOW + 500)) is (fields in MATCHING)


EMPTY: list[dict[str, Any]] = [{}, {"key_prefix": ""}, {"search": ""}]
ASKING: list[dict[str, Any]] = [{field: "x"} for field in ("key", "key_prefix", "search", "ref", "version", "family")]
ASKING += [{"entry_class": EntryClass.DEFAULT_BRANCH}]
ASKING += [{"created_before": 0}, {"unused_since": 0}, {"key_prefix": "", "ref": "r"}]


def test_filter_without_criteria_is_empty():
    assert [fields for fields in (*EMPTY, *ASKING) if EntryFilter(**fields).asks_nothing] == EMPTY


def test_summary_counts_by_ref_and_class(monkeypatch):
    monkeypatch.setattr(listing, "MOST_REFS", 2)
    branch, pull = "refs/heads/b", "refs/pull/1/merge"
    summary = Summary.of(
        [
            *(archive(ref=pull, size=size) for size in (1, 2)),
            archive(ref="refs/pull/2/merge", size=3),
            archive(ref=branch, size=9, saved_as=EntryClass.BRANCH),
            archive(size=4),
        ]
    )
    assert summary.usage == Usage(19, 5, branch_bytes=9, branch_entries=1, transient_bytes=6, transient_entries=3)
    assert list(summary.by_ref.items()) == [
        (branch, Usage(9, 1, branch_bytes=9, branch_entries=1)),
        (REF, Usage(4, 1)),
    ]
    assert summary.other_refs == Usage(6, 3, transient_bytes=6, transient_entries=3)
    assert Summary.of([]) == Summary(Usage(), {})


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


def test_pages_count_from_one_and_last_holds_last_entry():
    for number, size, range_ in ((1, 30, (0, 30)), (2, 30, (30, 60)), (3, 1, (2, 3))):
        assert (Page(number, size).start, Page(number, size).end) == range_
    last = {0: 1, 1: 1, 30: 1, 31: 2, 60: 2, 61: 3}
    assert {total: Page(1, 30).last_of(total) for total in last} == last
