"""The cache service on the wire: both encodings, what a token may do, and which entry a lookup finds."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

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


# ------------------------------------------------------------------ lookups


def test_one_of_concurrent_creates_succeeds(job: Job):
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(job.create, ["key"] * 16))

    assert sorted(reply.status for reply in replies) == [200, *[409] * 15]


def test_branch_reads_its_own_scope_then_the_default_branchs(job: Job, repository: str):
    def of(scopes: Mapping[str, int]) -> Job:
        return Job(job.server, runtime_token(list(scopes.items()), repository), job.user_agent)

    default_branch, other = of({DEFAULT_BRANCH: READ_WRITE}), of({PULL_REQUEST: READ_WRITE})
    branch = of({BRANCH: READ_WRITE, DEFAULT_BRANCH: READ})
    default_branch.save("key", b"the default branch's")
    assert branch.restore("key").body == b"the default branch's"
    assert not other.look_up("key")["ok"]

    branch.save("key", b"the branch's own")

    assert branch.restore("key").body == b"the branch's own"
    assert default_branch.restore("key").body == b"the default branch's"


def test_lookup_without_readable_scope_is_denied(job: Job, repository: str):
    writer = Job(job.server, runtime_token([(BRANCH, WRITE)], repository))

    denied = writer.call("GetCacheEntryDownloadURL", key="key")

    assert (denied.status, denied.json["code"]) == (403, "permission_denied")
    assert "cache read denied:" in denied.json["msg"]


@pytest.mark.parametrize("key", ["k" * 512, "ключ-" * 100, "a/b c,d%2F+\"'<&\n\\", "nul\0l", "🦀"], ids=repr)
def test_keys_accept_any_512_characters(job: Job, key: str):
    job.save(key, b"data")

    assert job.look_up(key)["matched_key"] == key
    assert job.look_up(key[: len(key) // 2 + 1])["matched_key"] == key
    assert job.create(key).status == 409
