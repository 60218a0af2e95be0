"""Which entry matches, and what a lookup gives for it."""

import pytest

from actions_cache.domain.archive import ArchiveState
from tests.support.journey import SCOPE, name


def saved(journey, key, scope=SCOPE, body=b"content"):
    journey.clock.advance(1)
    return journey.save(name(key, scope=scope), body)


def test_exact_key_beats_newer_prefix_match(journey):
    saved(journey, "npm-1")
    saved(journey, "npm-12")
    assert journey.look_up("npm-1").key == "npm-1"


def test_newest_prefix_match_wins(journey):
    for key in ("npm-2", "npm-3", "npm-1", "yarn-9"):
        saved(journey, key)
    assert journey.look_up("npm-").key == "npm-1"


def test_restore_keys_are_tried_in_order(journey):
    for key in ("npm-old", "yarn-1", "npm-new"):
        saved(journey, key)
    assert journey.look_up("nope", "yarn-", "npm-").key == "yarn-1"
    assert journey.look_up("nope", "none-", "npm-").key == "npm-new"


def test_scope_order_beats_key_order(journey):
    saved(journey, "npm-exact", scope="refs/heads/main")
    saved(journey, "npm-other", scope="refs/pull/7/merge")
    scopes = ("refs/pull/7/merge", "refs/heads/main")
    assert journey.look_up("npm-exact", "npm-", scopes=scopes).key == "npm-other"
    assert journey.look_up("npm-exact", "npm-", scopes=scopes[::-1]).key == "npm-exact"


def test_other_version_scope_or_repository_is_hidden(journey):
    """Repositories and scopes are isolated from each other."""
    saved(journey, "npm-1")
    assert journey.look_up("npm-1", version="v2") is None
    assert journey.look_up("npm-1", scopes=("refs/heads/other",)) is None
    assert journey.look_up("npm-1", repository="7") is None


def test_keys_are_literal_and_case_sensitive(journey):
    saved(journey, "Npm-1")
    for key in ("npm-1", "Npm-%", "Npm-*", "Npm-?"):
        assert journey.look_up(key) is None


def test_only_plain_readers_get_presigned_url(journey):
    saved(journey, "npm-1")
    assert journey.look_up("npm-1").url.startswith("http")
    assert journey.look_up("npm-1", user_agent="Go-http-client/1.1").url.startswith("/blobs/download/")


def test_range_clients_get_object_through_edge(journey):
    entry = saved(journey, "npm-1")
    url = journey.look_up("npm-1", user_agent="Go-http-client/1.1", through_edge=True).url
    subject = f"{len(b'content')}/{journey.archive(entry.archive_id).object.key.removeprefix('archives/')}"
    assert url.startswith(f"/blobs/object/{subject}?se=")
    assert journey.look_up("npm-1", through_edge=True).url.startswith("http"), "the store itself is nearer"


@pytest.mark.parametrize("through_edge", [True, False])
@pytest.mark.parametrize("parts", [(b"",), (b"one", b"two")], ids=["empty", "unmerged"])
def test_empty_or_unmerged_entry_gets_server_url(journey, parts, through_edge):
    journey.save(name("npm-1"), *parts)
    url = journey.look_up("npm-1", user_agent="Go-http-client/1.1", through_edge=through_edge).url
    assert url.startswith("/blobs/download/")


def test_merge_switches_entry_to_s3_url(journey):
    journey.save(name("npm-1"), b"one", b"two")
    assert journey.look_up("npm-1").url.startswith("/blobs/download/")
    journey.merge_all()
    assert journey.look_up("npm-1").url.startswith("http")


def test_entry_without_object_is_miss(journey):
    entry = saved(journey, "npm-1")
    journey.services.bucket.delete([journey.archive(entry.archive_id).object.key])
    assert journey.look_up("npm-1") is None
    assert journey.archive(entry.archive_id).state is ArchiveState.DELETED
    saved(journey, "npm-1", body=b"again")
    assert journey.look_up("npm-1") is not None


def test_entry_without_manifest_is_miss(journey):
    entry = journey.save(name("npm-1"), b"one", b"two")
    journey.services.bucket.delete([journey.archive(entry.archive_id).commit.manifest.key])
    assert journey.look_up("npm-1") is None
    assert journey.archive(entry.archive_id).state is ArchiveState.DELETED
    saved(journey, "npm-1", body=b"again")
    assert journey.look_up("npm-1") is not None


def test_lookup_skips_broken_entry(journey):
    saved(journey, "npm-1")
    broken = saved(journey, "npm-2")
    journey.services.bucket.delete([journey.archive(broken.archive_id).object.key])
    assert journey.look_up("npm-").key == "npm-1"


def test_last_use_is_noted_sparingly(journey):
    entry = saved(journey, "npm-1")
    first = journey.archive(entry.archive_id)
    journey.look_up("npm-1")
    assert journey.archive(entry.archive_id) == first
    journey.clock.advance(7 * 24 * 36)
    journey.look_up("npm-1")
    assert journey.archive(entry.archive_id).last_used_at == journey.clock.now()
