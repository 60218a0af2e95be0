"""Append Blobs: as magic-nix-cache sends them, request by request, and by Azure's own SDK."""

import os
from functools import partial
from importlib.metadata import version

import pytest
from azure.storage.blob import BlobClient, BlobType

from tests.clients.wire import Job, Reply, put_blob, send, with_query

MIB = 1024 * 1024

azures_client = partial(pytest.mark.client, "azure-storage-blob", version=version("azure-storage-blob"))


def create(url: str) -> Reply:
    return send("PUT", url, b"", {"x-ms-blob-type": "AppendBlob"})


def append(url: str, body: bytes, offset: int | None = None) -> Reply:
    headers = {} if offset is None else {"x-ms-blob-condition-appendpos": str(offset)}
    return send("PUT", with_query(url, first={"comp": "appendblock"}), body, headers)


def seal(url: str) -> Reply:
    return send("PUT", with_query(url, last={"comp": "seal"}), b"")


def finalized(job: Job, size: int) -> Reply:
    return job.finalize("key", size)


@pytest.mark.client("magic-nix-cache", version="request by request", feature="append blob: create, append, seal")
def test_what_magic_nix_appends_is_restored_from_its_parts_and_merged(job: Job):
    pieces = [os.urandom(6 * MIB), os.urandom(6 * MIB), os.urandom(5)]
    url = job.reserve("key")
    assert create(url).status == 201
    for piece in pieces:
        reply = append(url, piece)
        assert reply.status == 201
        assert reply.headers["x-ms-request-id"]
        assert reply.headers["ETag"]
    assert [seal(url).status, seal(url).status] == [200, 200]
    assert finalized(job, sum(map(len, pieces))).json["ok"]

    assert job.restore("key").body == b"".join(pieces)
    job.wait_until_merged("key")
    assert job.restore("key").body == b"".join(pieces)


@azures_client(feature="append blobs, in pieces, never sealed")
def test_azures_sdk_appends_in_pieces(job: Job):
    data = os.urandom(5 * MIB + 7)
    client = BlobClient.from_blob_url(job.reserve("key"), max_block_size=MIB)
    client.upload_blob(data, blob_type=BlobType.APPENDBLOB, overwrite=True)
    assert finalized(job, len(data)).json["ok"]
    assert job.restore("key").body == data


@azures_client(feature="append blobs, call by call")
def test_azures_sdk_creates_appends_and_seals(job: Job):
    client = BlobClient.from_blob_url(job.reserve("key"))
    client.create_append_blob()
    for piece in (b"first ", b"second ", b"third"):
        client.append_block(piece)
    client.seal_append_blob()
    assert finalized(job, 18).json["ok"]
    assert job.restore("key").body == b"first second third"


def test_a_piece_sent_again_to_its_offset_counts_once(job: Job):
    url = job.reserve("key")
    create(url)
    answers = [append(url, b"0123", 0), append(url, b"4567", 4), append(url, b"4567", 4), append(url, b"89", 8)]
    assert [reply.headers["x-ms-blob-append-offset"] for reply in answers] == ["0", "4", "4", "8"]
    assert finalized(job, 10).json["ok"]
    assert job.restore("key").body == b"0123456789"


def test_what_is_appended_after_the_seal_changes_nothing(job: Job):
    url = job.reserve("key")
    create(url)
    append(url, b"before")
    seal(url)
    append(url, b"after")
    assert finalized(job, 11).status == 400
    assert finalized(job, 6).json["ok"]
    append(url, b"later")
    assert job.restore("key").body == b"before"


def test_an_empty_append_blob_is_an_empty_entry(job: Job):
    url = job.reserve("key")
    assert (create(url).status, seal(url).status) == (201, 200)
    assert finalized(job, 0).json["ok"]
    assert job.restore("key").body == b""


def test_an_upload_committed_as_something_else_cant_be_sealed(job: Job):
    url = job.reserve("key")
    put_blob(url, b"a blob")
    assert finalized(job, 6).json["ok"]
    reply = seal(url)
    assert (reply.status, b"BlobAlreadyExists" in reply.body) == (409, True)


def test_a_blob_of_another_type_is_refused(job: Job):
    reply = send("PUT", job.reserve("key"), b"", {"x-ms-blob-type": "PageBlob"})
    assert (reply.status, b"PageBlob" in reply.body) == (400, True)
