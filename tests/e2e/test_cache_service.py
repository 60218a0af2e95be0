"""The cache service on the wire: both encodings, what a token may do, and which entry a lookup finds."""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dev.clients.runtime_token import BRANCH, DEFAULT_BRANCH, READ, READ_WRITE, WRITE, runtime_token
from dev.clients.wire import VERSION, Job, protobuf, put_blob, send
from functions.api.proto.cache_pb2 import (
    CreateCacheEntryRequest,
    CreateCacheEntryResponse,
    FinalizeCacheEntryUploadRequest,
    FinalizeCacheEntryUploadResponse,
    GetCacheEntryDownloadURLRequest,
    GetCacheEntryDownloadURLResponse,
)

PULL_REQUEST = "refs/pull/7/merge"


# ------------------------------------------------------------------ encodings


@pytest.mark.parametrize("size", ["4", 4], ids=["string", "number"])
@pytest.mark.parametrize("name", ["size_bytes", "sizeBytes"])
def test_finalize_accepts_both_cases_and_size_types(job: Job, name: str, size: str | int):
    put_blob(job.reserve("key"), b"data")

    finalized = job.call("FinalizeCacheEntryUpload", key="key", **{name: size})

    assert finalized.json["ok"] is True
    assert job.restore("key").body == b"data"


def test_json_replies_are_snake_case(job: Job):
    created = job.create("key")
    put_blob(created.json["signed_upload_url"], b"data")
    finalized = job.finalize("key", 4)
    found = job.call("GetCacheEntryDownloadURL", key="key")

    assert created.json.keys() == {"ok", "signed_upload_url", "message"}
    assert finalized.json.keys() == {"ok", "entry_id", "message"}
    assert found.json.keys() == {"ok", "signed_download_url", "matched_key"}
    assert finalized.json["entry_id"].isdecimal()
    assert {reply.headers["Content-Type"] for reply in (created, finalized, found)} == {"application/json"}


def test_miss_returns_ok_false_with_200(job: Job):
    missed = job.call("GetCacheEntryDownloadURL", key="never saved", restore_keys=["nor this"])

    assert (missed.status, missed.json["ok"]) == (200, False)


def test_protobuf_request_gets_protobuf_reply(job: Job):
    created = protobuf(
        job, "CreateCacheEntry", CreateCacheEntryRequest(key="key", version=VERSION), CreateCacheEntryResponse()
    )
    put_blob(created.signed_upload_url, b"data")
    finalized = protobuf(
        job,
        "FinalizeCacheEntryUpload",
        FinalizeCacheEntryUploadRequest(key="key", version=VERSION, size_bytes=4),
        FinalizeCacheEntryUploadResponse(),
    )
    found = protobuf(
        job,
        "GetCacheEntryDownloadURL",
        GetCacheEntryDownloadURLRequest(key="ke", restore_keys=["ke"], version=VERSION),
        GetCacheEntryDownloadURLResponse(),
    )

    assert created.ok
    assert finalized.ok
    assert finalized.entry_id > 0
    assert (found.ok, found.matched_key) == (True, "key")
    assert send("GET", found.signed_download_url).body == b"data"


def test_protobuf_error_is_json_without_charset(job: Job):
    job.save("key", b"data")

    request = CreateCacheEntryRequest(key="key", version=VERSION)
    refused = job.post("CreateCacheEntry", request.SerializeToString(), "application/protobuf")

    assert (refused.status, refused.json["code"]) == (409, "already_exists")
    assert refused.headers["Content-Type"] == "application/json"


# ------------------------------------------------------------------ who holds a key


def test_saved_key_already_exists(job: Job):
    job.save("key", b"data")

    refused = job.create("key")

    assert (refused.status, refused.json["code"]) == (409, "already_exists")


def test_reserved_key_already_exists(job: Job):
    job.reserve("key")

    refused = job.create("key")

    assert (refused.status, refused.json["code"]) == (409, "already_exists")


def test_one_of_concurrent_creates_succeeds(job: Job):
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(job.create, ["key"] * 16))

    assert sorted(reply.status for reply in replies) == [200, *[409] * 15]


def test_reserved_key_is_no_hit_before_finalize(job: Job):
    put_blob(job.reserve("key"), b"data")

    assert not job.look_up("key")["ok"]


def test_abandoned_reservation_frees_its_key(impatient_job: Job):
    impatient_job.reserve("key")
    assert impatient_job.create("key").status == 409

    put_blob(reserve_once_free(impatient_job, "key"), b"second try")

    assert impatient_job.finalize("key", len(b"second try")).json["ok"]
    assert impatient_job.restore("key").body == b"second try"


def test_late_finalize_leaves_newer_upload_alone(impatient_job: Job):
    put_blob(impatient_job.reserve("key"), b"first")
    put_blob(reserve_once_free(impatient_job, "key"), b"the second's")

    late = impatient_job.finalize("key", len(b"first"))
    good = impatient_job.finalize("key", len(b"the second's"))

    assert late.status == 400
    assert good.json["ok"]
    assert impatient_job.restore("key").body == b"the second's"


def reserve_once_free(job: Job, key: str) -> str:
    """The upload URL, as soon as nobody else holds the key any more."""
    deadline = time.monotonic() + 10
    while (reply := job.create(key)).status == 409 and time.monotonic() < deadline:
        time.sleep(0.2)
    url: str = reply.json["signed_upload_url"]
    return url


# ------------------------------------------------------------------ scopes


def of(job: Job, scopes: Mapping[str, int], repository: str) -> Job:
    """Another job of the same server."""
    return Job(job.server, runtime_token(list(scopes.items()), repository), job.user_agent)


def test_job_scope_is_hidden_from_other_branches(job: Job, repository: str):
    writer = of(job, {PULL_REQUEST: READ_WRITE, DEFAULT_BRANCH: READ}, repository)
    other_branch = of(job, {BRANCH: READ_WRITE, DEFAULT_BRANCH: READ}, repository)
    default_branch = of(job, {DEFAULT_BRANCH: READ_WRITE}, repository)

    writer.save("key", b"data")

    assert writer.look_up("key")["ok"]
    assert not other_branch.look_up("key")["ok"]
    assert not default_branch.look_up("key")["ok"]


def test_first_writable_scope_is_written(job: Job, repository: str):
    of(job, {BRANCH: READ, DEFAULT_BRANCH: READ_WRITE}, repository).save("key", b"data")

    assert of(job, {DEFAULT_BRANCH: READ}, repository).look_up("key")["ok"]
    assert not of(job, {BRANCH: READ}, repository).look_up("key")["ok"]


def test_create_without_writable_scope_is_denied(job: Job, repository: str):
    reader = of(job, {BRANCH: READ, DEFAULT_BRANCH: READ}, repository)

    for reply in (reader.create("key"), reader.finalize("key", 1)):
        assert (reply.status, reply.json["ok"]) == (200, False)
        assert reply.json["message"].startswith("cache write denied:")


def test_lookup_without_readable_scope_is_denied(job: Job, repository: str):
    denied = of(job, {BRANCH: WRITE}, repository).call("GetCacheEntryDownloadURL", key="key")

    assert (denied.status, denied.json["code"]) == (403, "permission_denied")
    assert "cache read denied:" in denied.json["msg"]


def test_own_scope_is_searched_first(job: Job, repository: str):
    of(job, {DEFAULT_BRANCH: READ_WRITE}, repository).save("key", b"the default branch's")
    branch = of(job, {BRANCH: READ_WRITE, DEFAULT_BRANCH: READ}, repository)
    assert branch.restore("key").body == b"the default branch's"

    branch.save("key", b"the branch's own")

    assert branch.restore("key").body == b"the branch's own"


def test_all_keys_are_tried_before_next_scope(job: Job, repository: str):
    of(job, {DEFAULT_BRANCH: READ_WRITE}, repository).save("key-exact", b"exact, but the default branch's")
    branch = of(job, {BRANCH: READ_WRITE, DEFAULT_BRANCH: READ}, repository)
    branch.save("fallback-1", b"by the last restore key, but own")

    assert branch.look_up("key-exact", "nothing-", "fallback-")["matched_key"] == "fallback-1"


def test_exact_key_wins_over_newer_prefix_match(job: Job):
    job.save("key", b"exact")
    job.save("key-and-more", b"newer")

    assert job.look_up("key")["matched_key"] == "key"


def test_prefix_match_prefers_key_then_newest(job: Job):
    for key in ("other-1", "key-2", "key-1", "other-2"):
        job.save(key, key.encode())

    assert job.look_up("key-", "other-")["matched_key"] == "key-1"
    assert job.look_up("nothing-", "other-", "key-")["matched_key"] == "other-2"


def test_versions_are_separate_entries(job: Job):
    job.save("key", b"data")

    missed: Any = job.call("GetCacheEntryDownloadURL", key="key", version="b" * 64).json

    assert not missed["ok"]


@pytest.mark.parametrize("key", ["k" * 512, "ключ-" * 100, "a/b c,d%2F+\"'<&\n\\", "nul\0l", "🦀"], ids=repr)
def test_keys_accept_any_512_characters(job: Job, key: str):
    job.save(key, b"data")

    assert job.look_up(key)["matched_key"] == key
    assert job.look_up(key[: len(key) // 2 + 1])["matched_key"] == key
    assert job.create(key).status == 409


def test_keys_are_case_sensitive(job: Job):
    job.save("Key", b"data")

    assert not job.look_up("key")["ok"]


def test_repositories_are_isolated(job: Job):
    job.save("key", b"ours")
    stranger = of(job, {BRANCH: READ_WRITE, DEFAULT_BRANCH: READ}, "999")

    assert not stranger.look_up("key")["ok"]
    assert stranger.finalize("key", 4).status == 404

    stranger.save("key", b"theirs")

    assert job.restore("key").body == b"ours"
    assert stranger.restore("key").body == b"theirs"
