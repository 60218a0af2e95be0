"""OpenDAL, which sccache stores by, and Azure's own SDK: clients that nobody here wrote."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from typing import Any

import opendal
import pytest
from azure.storage.blob import BlobClient

from dev.clients.runtime_token import Api, job_variables, runtime_token
from dev.clients.wire import VERSION, Job

MIB = 1024 * 1024

# ------------------------------------------------------------------ OpenDAL

OPENDAL_VERSION = version("opendal")
opendals_client = partial(pytest.mark.client, "OpenDAL ghac")


def asked(server: str, api: Api) -> object:
    """Return a fixture's parameters, marked with the client's version for docs/use/clients.md."""
    marks = pytest.mark.client(version=f"{OPENDAL_VERSION} by {api}")
    return pytest.param((server, api), id=f"{server}, {api}", marks=marks)


@pytest.fixture(params=[asked("server", "v2"), asked("unmerged_server", "v2"), asked("unmerged_server", "v1")])
def operator(request: pytest.FixtureRequest, repository: str, monkeypatch: pytest.MonkeyPatch) -> opendal.Operator:
    server, api = request.param
    for variable in ("ACTIONS_CACHE_URL", "ACTIONS_RESULTS_URL", "ACTIONS_CACHE_SERVICE_V2"):
        monkeypatch.delenv(variable, raising=False)
    token = runtime_token(repository=repository)
    for variable, value in job_variables(request.getfixturevalue(server), token, api).items():
        monkeypatch.setenv(variable, value)
    return opendal.Operator("ghac", root="/objects", version=VERSION)


@opendals_client(feature="writes, stats and reads")
@pytest.mark.parametrize("size", [0, 1, MIB], ids=["empty", "1 B", "1 MiB"])
def test_opendal_reads_and_stats_written_object(operator: opendal.Operator, size: int):
    """An empty object is a Put Blob without a byte, and a Finalize of size 0."""
    data = os.urandom(size)

    operator.write("object", data)

    assert operator.stat("object").content_length == size
    assert operator.read("object") == data


@opendals_client(feature="writes in blocks")
def test_opendal_writes_in_blocks(operator: opendal.Operator):
    data = os.urandom(11 * MIB)

    with operator.open("object", "wb", chunk=2 * MIB) as file:
        for start in range(0, len(data), MIB):
            file.write(data[start : start + MIB])

    assert operator.stat("object").content_length == len(data)
    assert operator.read("object") == data


@opendals_client(feature="reads from any offset")
def test_opendal_reads_from_any_offset(operator: opendal.Operator):
    data = os.urandom(5 * MIB)
    with operator.open("object", "wb", chunk=2 * MIB) as file:
        file.write(data)

    with operator.open("object", "rb") as file:
        file.seek(3 * MIB - 10)
        assert file.read(20) == data[3 * MIB - 10 : 3 * MIB + 10]


@opendals_client(feature="misses")
@pytest.mark.parametrize("operation", ["read", "stat"])
def test_opendal_reports_missing_object(operator: opendal.Operator, operation: str):
    with pytest.raises(opendal.exceptions.NotFound):
        getattr(operator, operation)("missing")


@opendals_client(feature="a second write is refused")
def test_opendal_reports_existing_object(operator: opendal.Operator):
    operator.write("object", b"first")

    with pytest.raises(opendal.exceptions.AlreadyExists):
        operator.write("object", b"second")
    assert operator.read("object") == b"first"


# ------------------------------------------------------------------ Azure's SDK for Python

AZURE_VERSION = version("azure-storage-blob")

SMALL_PIECES: dict[str, Any] = {
    "max_single_put_size": MIB,
    "max_block_size": MIB,
    "max_single_get_size": MIB,
    "max_chunk_get_size": MIB,
}
AZURE_SDK = f"azsdk-python-storage-blob/{AZURE_VERSION}"
LONGEST_SINGLE_PUT = 64 * MIB
"""Largest single PUT by default; it sends blocks of 4 MiB beyond. It reads 32 MiB at once, and then pieces of 4 MiB."""


@pytest.fixture(params=["server", "unmerged_server"], ids=["merging", "never merging"])
def azure_job(request: pytest.FixtureRequest, repository: str) -> Job:
    server = request.getfixturevalue(request.param)
    return Job(server, runtime_token(repository=repository), AZURE_SDK)


def saved(job: Job, data: bytes, sizes: Mapping[str, Any] = SMALL_PIECES) -> BlobClient:
    """The download's client."""
    upload = BlobClient.from_blob_url(job.reserve("key"), **sizes)
    upload.upload_blob(data, overwrite=True, max_concurrency=4)
    assert job.finalize("key", len(data)).json["ok"]
    return BlobClient.from_blob_url(job.download_url("key"), **sizes)


@pytest.mark.parametrize("size", [0, 5, 9 * MIB + 1])
def test_azure_sdk_round_trips_in_small_blocks(azure_job: Job, size: int):
    """HEAD, then x-ms-range with If-Match, several at once."""
    data = os.urandom(size)

    client = saved(azure_job, data)

    assert client.get_blob_properties().size == size
    assert client.download_blob(max_concurrency=4).readall() == data


@pytest.mark.parametrize("size", [4 * MIB + 1, LONGEST_SINGLE_PUT + 1])
def test_azure_sdk_round_trips_with_default_sizes(unmerged_job: Job, size: int):
    data = os.urandom(size)

    client = saved(Job(unmerged_job.server, unmerged_job.token, AZURE_SDK), data, {})

    assert client.download_blob(max_concurrency=4).readall() == data


def test_azure_sdk_reads_from_any_offset(azure_job: Job):
    data = os.urandom(6 * MIB)

    client = saved(azure_job, data)

    assert client.download_blob(offset=2 * MIB - 5, length=MIB).readall() == data[2 * MIB - 5 : 3 * MIB - 5]


def test_azure_sdk_keeps_reading_during_merge(job: Job):
    data = os.urandom(6 * MIB)
    azure_job = Job(job.server, job.token, AZURE_SDK)
    client = saved(azure_job, data)
    pieces: Any = client.download_blob().chunks()

    got = next(pieces)
    azure_job.wait_until_merged("key")
    got += b"".join(pieces)

    assert got == data


@pytest.mark.parametrize("url_of", [Job.reserve, Job.download_url], ids=["upload", "download"])
def test_azure_sdk_keeps_url_signature(job: Job, url_of: Callable[[Job, str], str]):
    if url_of is Job.download_url:
        job.save("key", b"data")
    url = url_of(Job(job.server, job.token, AZURE_SDK), "key")

    assert BlobClient.from_blob_url(url).url.partition("?")[2]
