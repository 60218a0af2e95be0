"""No byte of an archive passes a function, from upload to restore, as counted on both sides of the functions."""

import os
from hashlib import sha256
from typing import NamedTuple

import pytest

from dev.clients.actions_cache import ActionsCache
from dev.clients.runtime_token import runtime_token
from dev.clients.wire import GO, Job, read
from dev.emulation.api_gateway import Caps, Gateway
from dev.emulation.proxy import StoreProxy

MIB = 1024 * 1024
CONTROL_BYTES = 128 * 1024
"""More than all messages of a save and a restore: create, block list, manifest, finalize, lookup, redirect, and the XML
of S3's answers, cleanup's listings included."""


class Moved(NamedTuple):
    """Bytes since the count began."""

    through_api: int
    through_download: int
    by_functions_at_the_store: int
    by_others_at_the_store: int
    """Bytes of the CDN edge, the download function, and clients with presigned URLs."""


class Count:
    def __init__(self, gateway: Gateway, store: StoreProxy) -> None:
        self._now = lambda: (
            gateway.through_api.total,
            gateway.through_download.total,
            store.by_functions.total,
            store.by_others.total,
        )
        self._began = self._now()

    def moved(self) -> Moved:
        return Moved(*(now - began for now, began in zip(self._now(), self._began, strict=True)))


@pytest.fixture
def gateway(counted):
    with counted.run.behind(Caps()) as gateway:
        yield gateway


@pytest.fixture
def job(gateway: Gateway, repository: str) -> Job:
    return Job(gateway.url, runtime_token(repository=repository))


def test_large_blocks_pass_no_function(counted, gateway, job):
    blocks = [os.urandom(5 * MIB) for _ in range(3)]
    size = sum(map(len, blocks))
    count = Count(gateway, counted.store)
    job.save("key", *blocks)
    reading = read(job.download_url("key"))
    job.wait_until_merged("key")
    again = read(job.download_url("key"))
    moved = count.moved()
    assert reading.digest == again.digest == sha256(b"".join(blocks)).hexdigest()
    assert moved.through_api + moved.through_download < CONTROL_BYTES
    assert moved.by_functions_at_the_store < CONTROL_BYTES, "the merge moved bytes itself"
    assert moved.by_others_at_the_store >= 3 * size, "in by the edge, and out twice by presigned URLs"


def test_small_blocks_pass_the_merge_worker_alone(counted, gateway, job):
    """Blocks under S3's floor pass the merge worker, in and out again; their readers pass no function."""
    blocks = [os.urandom(MIB) for _ in range(6)]
    count = Count(gateway, counted.store)
    job.save("key", *blocks)
    through_server = Job(gateway.url, job.token, GO).download_url("key")
    job.wait_until_merged("key")
    assert count.moved().by_functions_at_the_store >= 2 * 6 * MIB
    count = Count(gateway, counted.store)
    readings = [read(job.download_url("key")), read(through_server)]
    moved = count.moved()
    assert {reading.digest for reading in readings} == {sha256(b"".join(blocks)).hexdigest()}
    assert moved.through_api + moved.through_download < CONTROL_BYTES
    assert moved.by_functions_at_the_store < CONTROL_BYTES


def test_real_client_restores_a_fresh_entry_past_functions(counted, gateway, repository, tmp_path):
    """More than 128 MiB, and so in blocks. Under AWS's own caps no function could deliver it in this time."""
    client = ActionsCache(gateway.url, tmp_path, runtime_token(repository=repository))
    data = os.urandom(140 * MIB)
    (tmp_path / "data").write_bytes(data)
    count = Count(gateway, counted.store)
    saved = client.save(["data"], "key")
    assert len(saved.parts) == 3
    (tmp_path / "data").unlink()
    restored = client.restore(["data"], "key")
    assert restored.result == "key"
    assert (tmp_path / "data").read_bytes() == data
    moved = count.moved()
    assert moved.through_api + moved.through_download < CONTROL_BYTES
    assert moved.by_functions_at_the_store < CONTROL_BYTES
