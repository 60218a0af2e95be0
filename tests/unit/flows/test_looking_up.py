"""A lookup finds the right entry, and gives the right URL for it."""

import pytest

from actions_cache.domain.archive import ArchiveState
from actions_cache.domain.signing import EXPIRES
from actions_cache.domain.timing import SECOND
from dev.clients.driver import SCOPE, name


def saved(driver, key, scope=SCOPE, body=b"content"):
    driver.clock.advance(1)
    return driver.save(name(key, scope=scope), body)


def test_exact_then_newest_prefix_match_wins(driver):
    for key in ("npm-2", "npm-3", "npm-1", "npm-12", "yarn-9"):
        saved(driver, key)
    assert driver.look_up("npm-1").key == "npm-1"
    assert driver.look_up("npm-").key == "npm-12"


def test_restore_keys_are_tried_in_order(driver):
    for key in ("npm-old", "yarn-1", "npm-new"):
        saved(driver, key)
    assert driver.look_up("nope", "yarn-", "npm-").key == "yarn-1"
    assert driver.look_up("nope", "none-", "npm-").key == "npm-new"


def test_undivided_key_beats_its_first_piece(driver):
    saved(driver, "npm,1")
    saved(driver, "npm")
    assert driver.look_up("npm", "1", undivided_key="npm,1").key == "npm,1"
    assert driver.look_up("npm", "1", undivided_key="npm,2").key == "npm"


def test_scope_order_beats_key_order(driver):
    saved(driver, "npm-exact", scope="refs/heads/main")
    saved(driver, "npm-other", scope="refs/pull/7/merge")
    scopes = ("refs/pull/7/merge", "refs/heads/main")
    assert driver.look_up("npm-exact", "npm-", scopes=scopes).key == "npm-other"
    assert driver.look_up("npm-exact", "npm-", scopes=scopes[::-1]).key == "npm-exact"


def test_other_version_scope_or_repository_is_hidden(driver):
    """Repositories and scopes are isolated from each other."""
    saved(driver, "npm-1")
    assert driver.look_up("npm-1", version="v2") is None
    assert driver.look_up("npm-1", scopes=("refs/heads/other",)) is None
    assert driver.look_up("npm-1", repository="7") is None


def test_keys_are_literal_and_case_sensitive(driver):
    saved(driver, "Npm-1")
    for key in ("npm-1", "Npm-%", "Npm-*", "Npm-?"):
        assert driver.look_up(key) is None


def test_only_plain_readers_get_presigned_url(driver):
    entry = saved(driver, "npm-1")
    assert driver.look_up("npm-1").url.startswith("http")
    assert driver.look_up("npm-1", can_read_from_s3=False).url.startswith("/blobs/download/")
    url = driver.look_up("npm-1", can_read_from_s3=False, through_edge=True).url
    subject = f"{len(b'content')}/{driver.archive(entry.archive_id).object.key.removeprefix('archives/')}"
    assert url.startswith(f"/blobs/object/{subject}?se="), "which seeks"
    assert driver.look_up("npm-1", through_edge=True).url.startswith("http"), "the store itself is nearer"


@pytest.mark.parametrize("parts", [(b"one",), (b"one", b"two")], ids=["object", "parts"])
def test_url_ends_when_the_grace_counts_on_it(driver, parts):
    driver.save(name("npm-1"), *parts)
    url = driver.look_up("npm-1", can_read_from_s3=False, through_edge=True).url
    assert f"?{EXPIRES}={(driver.clock.now() + driver.services.lifetimes.download_url) // SECOND}&" in url


@pytest.mark.parametrize("through_edge", [True, False])
@pytest.mark.parametrize("parts", [(b"",), (b"one", b"two")], ids=["empty", "unmerged"])
def test_empty_or_unmerged_entry_gets_server_url(driver, parts, through_edge):
    driver.save(name("npm-1"), *parts)
    url = driver.look_up("npm-1", can_read_from_s3=False, through_edge=through_edge).url
    assert url.startswith("/blobs/download/")
    if len(parts) > 1:
        assert driver.look_up("npm-1").url.startswith("/blobs/download/")
        driver.merge_all()
        assert driver.look_up("npm-1").url.startswith("http")


def test_entry_without_object_is_miss(driver):
    saved(driver, "npm-")
    entry = saved(driver, "npm-1")
    driver.services.bucket.delete([driver.archive(entry.archive_id).object.key])
    assert driver.look_up("npm-1") is None
    assert driver.archive(entry.archive_id).state is ArchiveState.DELETED
    again = saved(driver, "npm-1", body=b"again")
    assert driver.look_up("npm-1") is not None
    driver.services.bucket.delete([driver.archive(again.archive_id).object.key])
    assert driver.look_up("npm").key == "npm-", "the next one is found"


def test_entry_without_manifest_is_miss(driver):
    entry = driver.save(name("npm-1"), b"one", b"two")
    driver.services.bucket.delete([driver.archive(entry.archive_id).commit.manifest.key])
    assert driver.look_up("npm-1") is None
    assert driver.archive(entry.archive_id).state is ArchiveState.DELETED
    saved(driver, "npm-1", body=b"again")
    assert driver.look_up("npm-1") is not None


def test_last_use_is_noted_sparingly(driver):
    entry = saved(driver, "npm-1")
    first = driver.archive(entry.archive_id)
    driver.look_up("npm-1")
    assert driver.archive(entry.archive_id) == first
    driver.clock.advance(7 * 24 * 36)
    driver.look_up("npm-1")
    assert driver.archive(entry.archive_id).last_used_at == driver.clock.now()


def test_entry_whose_object_was_replaced_is_miss(driver):
    entry = driver.save(name("npm"), b"right")
    driver.overwrite(driver.archive(entry.archive_id).object.key, b"wrong")
    assert driver.look_up("npm") is None
