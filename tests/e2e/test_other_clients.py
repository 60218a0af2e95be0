"""OpenDAL, which sccache stores by, and Azure's own SDK: clients that nobody here wrote."""

import os
from collections.abc import Callable
from typing import Any

import opendal
import pytest
from azure.storage.blob import BlobClient

from tests.clients.runtime_token import runtime_token
from tests.clients.wire import VERSION, Job

MIB = 1024 * 1024

# ------------------------------------------------------------------ OpenDAL


@pytest.fixture(params=["server", "unmerged_server"], ids=["merging", "never merging"])
def operator(request: pytest.FixtureRequest, repository: str, monkeypatch: pytest.MonkeyPatch) -> opendal.Operator:
    monkeypatch.setenv("ACTIONS_CACHE_SERVICE_V2", "1")
    monkeypatch.setenv("ACTIONS_RESULTS_URL", f"{request.getfixturevalue(request.param)}/")
    monkeypatch.setenv("ACTIONS_RUNTIME_TOKEN", runtime_token(repository=repository))
    return opendal.Operator("ghac", root="/objects", version=VERSION)


@pytest.mark.parametrize("size", [0, 1, MIB], ids=["empty", "1 B", "1 MiB"])
def test_opendal_reads_and_stats_what_it_wrote(operator: opendal.Operator, size: int):
    """An empty object is a Put Blob without a byte, and a Finalize of size 0."""
    data = os.urandom(size)

    operator.write("object", data)

    assert operator.stat("object").content_length == size
    assert operator.read("object") == data


def test_opendal_writes_in_blocks_with_ids_of_its_own(operator: opendal.Operator):
    data = os.urandom(11 * MIB)

    with operator.open("object", "wb", chunk=2 * MIB) as file:
        for start in range(0, len(data), MIB):
            file.write(data[start : start + MIB])

    assert operator.stat("object").content_length == len(data)
    assert operator.read("object") == data


def test_opendal_reads_from_any_offset(operator: opendal.Operator):
    data = os.urandom(5 * MIB)
    with operator.open("object", "wb", chunk=2 * MIB) as file:
        file.write(data)

    with operator.open("object", "rb") as file:
        file.seek(3 * MIB - 10)
        assert file.read(20) == data[3 * MIB - 10 : 3 * MIB + 10]


@pytest.mark.parametrize("operation", ["read", "stat"])
def test_opendal_finds_nothing_where_nothing_was_written(operator: opendal.Operator, operation: str):
    with pytest.raises(opendal.exceptions.NotFound):
        getattr(operator, operation)("missing")


def test_opendal_is_told_that_an_object_exists(operator: opendal.Operator):
    operator.write("object", b"first")

    with pytest.raises(opendal.exceptions.AlreadyExists):
        operator.write("object", b"second")
    assert operator.read("object") == b"first"


# ------------------------------------------------------------------ Azure's SDK for Python

SMALL_PIECES: dict[str, Any] = {
    "max_single_put_size": MIB,
    "max_block_size": MIB,
    "max_single_get_size": MIB,
    "max_chunk_get_size": MIB,
}


def blob(url: str) -> BlobClient:
    return BlobClient.from_blob_url(url, **SMALL_PIECES)


@pytest.fixture(params=["server", "unmerged_server"], ids=["merging", "never merging"])
def azure_job(request: pytest.FixtureRequest, repository: str) -> Job:
    server = request.getfixturevalue(request.param)
    return Job(server, runtime_token(repository=repository), "azsdk-python-storage-blob/12.31.1")


def saved(job: Job, data: bytes) -> BlobClient:
    """The download's client."""
    blob(job.reserve("key")).upload_blob(data, overwrite=True, max_concurrency=4)
    assert job.finalize("key", len(data)).json["ok"]
    return blob(job.download_url("key"))


@pytest.mark.parametrize(
    "size",
    [
        0,
        5,
        9 * MIB + 1,
    ],
)
def test_azures_sdk_reads_in_pieces_what_it_wrote_in_pieces(azure_job: Job, size: int):
    """HEAD, then x-ms-range with If-Match, several at once."""
    data = os.urandom(size)

    client = saved(azure_job, data)

    assert client.get_blob_properties().size == size
    assert client.download_blob(max_concurrency=4).readall() == data


def test_azures_sdk_reads_from_any_offset(azure_job: Job):
    data = os.urandom(6 * MIB)

    client = saved(azure_job, data)

    assert client.download_blob(offset=2 * MIB - 5, length=MIB).readall() == data[2 * MIB - 5 : 3 * MIB - 5]


def test_azures_sdk_reads_on_while_the_archive_is_merged(job: Job):
    data = os.urandom(6 * MIB)
    azure_job = Job(job.server, job.token, "azsdk-python-storage-blob/12.31.1")
    client = saved(azure_job, data)
    pieces: Any = client.download_blob().chunks()

    got = next(pieces)
    azure_job.wait_until_merged("key")
    got += b"".join(pieces)

    assert got == data


@pytest.mark.parametrize("url_of", [Job.reserve, Job.download_url], ids=["upload", "download"])
def test_azures_sdk_keeps_the_signature_of_a_url(job: Job, url_of: Callable[[Job, str], str]):
    if url_of is Job.download_url:
        job.save("key", b"data")
    url = url_of(Job(job.server, job.token, "azsdk-python-storage-blob/12.31.1"), "key")

    assert BlobClient.from_blob_url(url).url.partition("?")[2]
