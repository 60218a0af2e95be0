"""What a job that missed is told of."""

import pytest

from actions_cache import lookup
from tests.support.journey import REPOSITORY, SCOPE, name


def saved(journey, key, **place):
    journey.clock.advance(1)
    return journey.save(name(key, **place), b"content")


def listed(journey, prefix, scopes=(SCOPE,), repository=REPOSITORY):
    found = journey.services.list_similar(repository, scopes, prefix)
    return [(entry.name.key, entry.name.family.scope, entry.name.family.version) for entry in found]


def test_similar_keys_are_listed_newest_first(journey):
    saved(journey, "npm-1", version="zstd")
    saved(journey, "npm-2", version="gzip")
    saved(journey, "yarn-1")
    assert listed(journey, "npm-") == [("npm-2", SCOPE, "gzip"), ("npm-1", SCOPE, "zstd")]
    assert listed(journey, "npm-1") == [("npm-1", SCOPE, "zstd")]
    assert listed(journey, "NPM") == listed(journey, "npm-3") == []


def test_other_scopes_and_repositories_are_hidden(journey):
    """Repositories and scopes are isolated from each other."""
    saved(journey, "npm-main")
    saved(journey, "npm-pull", scope="refs/pull/7/merge")
    saved(journey, "npm-theirs", repository="7")
    assert listed(journey, "npm") == [("npm-main", SCOPE, "v1")]
    assert listed(journey, "npm", ("refs/pull/7/merge",)) == [("npm-pull", "refs/pull/7/merge", "v1")]
    assert listed(journey, "npm", ("refs/pull/7", "refs/heads/mai")) == []
    assert listed(journey, "npm", repository="7") == [("npm-theirs", SCOPE, "v1")]


def test_only_live_entries_are_listed(journey):
    journey.upload(name("npm-reserved"), b"content")
    gone = saved(journey, "npm-gone")
    assert journey.services.remove_entry(gone.archive_id, lambda _: True)
    assert listed(journey, "npm") == []


@pytest.mark.parametrize(
    ("most_listed", "most_read", "expected"), [(2, 100, ["4", "2"]), (9, 3, ["4", "2"]), (9, 9, ["4", "2", "0"])]
)
def test_list_and_search_are_bounded(journey, monkeypatch, most_listed, most_read, expected):
    monkeypatch.setattr(lookup, "MOST_LISTED", most_listed)
    monkeypatch.setattr(lookup, "MOST_READ", most_read)
    for i in range(5):
        saved(journey, f"npm-{i}", scope=SCOPE if i % 2 == 0 else "another")
    assert [key.removeprefix("npm-") for key, _, _ in listed(journey, "npm-")] == expected
