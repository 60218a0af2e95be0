"""A job that missed learns of similar entries that it may read."""

import pytest

from actions_cache import lookup
from dev.clients.driver import REPOSITORY, SCOPE, name


def saved(driver, key, **place):
    driver.clock.advance(1)
    return driver.save(name(key, **place), b"content")


def listed(driver, prefix, scopes=(SCOPE,), repository=REPOSITORY):
    found = driver.services.list_similar(repository, scopes, prefix)
    return [(entry.name.key, entry.name.family.scope, entry.name.family.version) for entry in found]


def test_similar_keys_are_listed_newest_first(driver):
    saved(driver, "npm-1", version="zstd")
    saved(driver, "npm-2", version="gzip")
    saved(driver, "yarn-1")
    assert listed(driver, "npm-") == [("npm-2", SCOPE, "gzip"), ("npm-1", SCOPE, "zstd")]
    assert listed(driver, "npm-1") == [("npm-1", SCOPE, "zstd")]
    assert listed(driver, "NPM") == listed(driver, "npm-3") == []


def test_other_scopes_and_repositories_are_hidden(driver):
    """Repositories and scopes are isolated from each other."""
    saved(driver, "npm-main")
    saved(driver, "npm-pull", scope="refs/pull/7/merge")
    saved(driver, "npm-theirs", repository="7")
    assert listed(driver, "npm") == [("npm-main", SCOPE, "v1")]
    assert listed(driver, "npm", ("refs/pull/7/merge",)) == [("npm-pull", "refs/pull/7/merge", "v1")]
    assert listed(driver, "npm", ("refs/pull/7", "refs/heads/mai")) == []
    assert listed(driver, "npm", repository="7") == [("npm-theirs", SCOPE, "v1")]


def test_only_live_entries_are_listed(driver):
    driver.upload(name("npm-reserved"), b"content")
    gone = saved(driver, "npm-gone")
    assert driver.services.remove_entry(gone.archive_id, lambda _: True)
    assert listed(driver, "npm") == []


@pytest.mark.parametrize(
    ("most_listed", "most_read", "expected"), [(2, 100, ["4", "2"]), (9, 3, ["4", "2"]), (9, 9, ["4", "2", "0"])]
)
def test_list_and_search_are_bounded(driver, monkeypatch, most_listed, most_read, expected):
    monkeypatch.setattr(lookup, "MOST_LISTED", most_listed)
    monkeypatch.setattr(lookup, "MOST_READ", most_read)
    for i in range(5):
        saved(driver, f"npm-{i}", scope=SCOPE if i % 2 == 0 else "another")
    assert [key.removeprefix("npm-") for key, _, _ in listed(driver, "npm-")] == expected
