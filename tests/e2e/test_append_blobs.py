"""Append Blobs: as magic-nix-cache sends them, request by request, and by Azure's own SDK."""

import os

import pytest
from azure.storage.blob import BlobClient, BlobType

from dev.clients.wire import VERSION, Job, Reply, protobuf, put_blob, put_block, put_block_list, send, with_query
from functions.api.proto.cache_pb2 import (
    CreateCacheEntryRequest,
    CreateCacheEntryResponse,
    FinalizeCacheEntryUploadRequest,
    FinalizeCacheEntryUploadResponse,
)

MIB = 1024 * 1024


MAGIC_NIX_HEADERS = {"Content-Type": "application/octet-stream", "x-ms-blob-type": "AppendBlob"}
"""Headers that magic-nix-cache sends with each of its three requests (its gha-cache/src/api.rs)."""


def create(url: str) -> Reply:
    return send("PUT", url, b"", MAGIC_NIX_HEADERS)


def append(url: str, body: bytes, offset: int | None = None) -> Reply:
    named = {} if offset is None else {"x-ms-blob-condition-appendpos": str(offset)}
    return send("PUT", with_query(url, last={"comp": "appendblock"}), body, MAGIC_NIX_HEADERS | named)


def seal(url: str) -> Reply:
    return send("PUT", with_query(url, last={"comp": "seal"}), b"", MAGIC_NIX_HEADERS)


def finalized(job: Job, size: int) -> Reply:
    return job.finalize("key", size)


@pytest.mark.client("magic-nix-cache", version="Its requests, one by one", feature="append blob: create, append, seal")
def test_magic_nix_append_is_restored_and_merged(job: Job):
    pieces = [os.urandom(6 * MIB), os.urandom(6 * MIB), os.urandom(5)]
    request = CreateCacheEntryRequest(key="key", version=VERSION)
    url = protobuf(job, "CreateCacheEntry", request, CreateCacheEntryResponse()).signed_upload_url
    assert create(url).status == 201
    assert [append(url, piece).status for piece in pieces] == [201] * 3
    assert [seal(url).status, seal(url).status] == [200, 200]
    finalize = FinalizeCacheEntryUploadRequest(key="key", version=VERSION, size_bytes=sum(map(len, pieces)))
    assert protobuf(job, "FinalizeCacheEntryUpload", finalize, FinalizeCacheEntryUploadResponse()).ok

    assert job.restore("key").body == b"".join(pieces)
    job.wait_until_merged("key")
    assert job.restore("key").body == b"".join(pieces)


def test_azure_sdk_appends_in_chunks(job: Job):
    data = os.urandom(5 * MIB + 7)
    client = BlobClient.from_blob_url(job.reserve("key"), max_block_size=MIB)
    client.upload_blob(data, blob_type=BlobType.APPENDBLOB, overwrite=True)
    assert finalized(job, len(data)).json["ok"]
    assert job.restore("key").body == data


def test_azure_sdk_creates_appends_and_seals(job: Job):
    client = BlobClient.from_blob_url(job.reserve("key"))
    client.create_append_blob()
    for piece in (b"first ", b"second ", b"third"):
        client.append_block(piece)
    client.seal_append_blob()
    assert finalized(job, 18).json["ok"]
    assert job.restore("key").body == b"first second third"


def test_put_blob_cannot_be_sealed(job: Job):
    url = job.reserve("key")
    create(url)
    append(url, b"appended")
    put_blob(url, b"a blob")

    replaced = seal(url)
    assert finalized(job, 6).json["ok"]
    committed = seal(url)

    assert (replaced.status, b"a Put Blob replaced" in replaced.body) == (400, True)
    assert (committed.status, b"BlobAlreadyExists" in committed.body) == (409, True)
    assert job.restore("key").body == b"a blob"


def test_first_commit_wins_over_seal_or_block_list(job: Job):
    sealed, listed = job.reserve("sealed"), job.reserve("listed")
    for url in (sealed, listed):
        create(url)
        append(url, b"appended")
        put_block(url, "QQ==", b"a block")

    sealed_first = [seal(sealed), put_block_list(sealed, ["QQ=="]), seal(sealed)]
    listed_first = [put_block_list(listed, ["QQ=="]), seal(listed), put_block_list(listed, ["QQ=="])]

    assert [reply.status for reply in sealed_first] == [200, 409, 200]
    assert [reply.status for reply in listed_first] == [201, 409, 201]
    assert (job.finalize("sealed", 8).json["ok"], job.finalize("listed", 7).json["ok"]) == (True, True)
    assert (job.restore("sealed").body, job.restore("listed").body) == (b"appended", b"a block")


def test_azure_sdk_appends_consecutive_uploads(job: Job):
    """It counts the offsets of each from the answer to its first append."""
    client = BlobClient.from_blob_url(job.reserve("key"), max_block_size=MIB)
    first, second = os.urandom(2 * MIB + 3), os.urandom(2 * MIB + 5)
    client.create_append_blob()
    for data in (first, second):
        client.upload_blob(data, blob_type=BlobType.APPENDBLOB)

    assert finalized(job, len(first + second)).json["ok"]

    assert job.restore("key").body == first + second


@pytest.mark.parametrize("is_sealed", [True, False])
def test_empty_append_blob_needs_no_seal(job: Job, is_sealed: bool):
    url = job.reserve("key")
    assert create(url).status == 201
    assert not is_sealed or seal(url).status == 200
    assert finalized(job, 0).json["ok"]
    assert job.restore("key").body == b""


def test_empty_append_and_create_with_body_are_refused(job: Job):
    url = job.reserve("key")
    replies = [append(url, b""), send("PUT", url, b"bytes", {"x-ms-blob-type": "AppendBlob"})]
    for reply in replies:
        assert (reply.status, reply.headers["x-ms-error-code"]) == (400, "InvalidHeaderValue")
    assert b"NotFound" in seal(url).body, "neither began a blob"


def test_offset_gap_is_refused_until_filled(job: Job):
    url = job.reserve("key")
    create(url)
    append(url, b"0123", 0)
    append(url, b"89", 8)
    replies = [seal(url), finalized(job, 6)]
    assert [reply.status for reply in replies] == [400, 400]
    assert all(b"appended at 8, but 4 bytes" in reply.body for reply in replies)

    append(url, b"4567", 4)

    assert finalized(job, 10).json["ok"]
    assert job.restore("key").body == b"0123456789"


def test_append_replies_have_required_headers(job: Job):
    url = job.reserve("key")
    replies = [create(url), append(url, b"data"), seal(url)]
    for reply in replies:
        assert all(name in reply.headers for name in ("x-ms-request-id", "ETag", "Last-Modified")), str(reply.headers)
