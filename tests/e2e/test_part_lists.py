"""A client reads saved archives by their part lists, over several connections, in parts and merged."""

import os
import uuid
from collections.abc import Iterator
from contextlib import closing

import pytest

from dev.clients.buildkit import BuildKit, layer_key
from dev.clients.runtime_token import runtime_token
from dev.clients.wire import GO, Job, send
from tests.support.part_list_reader import MEDIA_TYPE, PartListReader, ask, read_by_list

MIB = 1024 * 1024
DATA = os.urandom(3 * MIB + 1)
BLOCKS = [DATA[:1], DATA[1:MIB], b"", DATA[MIB : 2 * MIB + 7], DATA[2 * MIB + 7 :]]


def saved(job: Job, *blocks: bytes) -> str:
    """Save an entry, and return our own URL of it, as BuildKit gets it."""
    key = f"listed-{uuid.uuid4()}"
    job.save(key, *blocks)
    return Job(job.server, job.token, GO).download_url(key)


@pytest.mark.parametrize("connections", [1, 8])
@pytest.mark.parametrize("range_bytes", [4097, MIB - 1, MIB, 16 * MIB])
def test_unmerged_archive_is_read_by_its_parts(unmerged_job: Job, range_bytes: int, connections: int):
    url = saved(unmerged_job, *BLOCKS)

    assert len(PartListReader.of(url).parts) == 4
    assert read_by_list(url, range_bytes, connections) == (DATA, len(DATA))
    assert send("GET", url).body == DATA


@pytest.mark.parametrize("range_bytes", [MIB - 1, 16 * MIB])
def test_merged_archive_is_read_by_its_object(job: Job, range_bytes: int):
    key, url = job.save_in_parts(*BLOCKS)
    job.wait_until_merged(key)

    assert len(PartListReader.of(url).parts) == 1
    assert read_by_list(url, range_bytes) == (DATA, len(DATA))


def test_list_outlives_the_merge(job: Job):
    """Parts stay for readers that have begun with them."""
    key, url = job.save_in_parts(*BLOCKS)
    reader = PartListReader.of(url)
    job.wait_until_merged(key)

    assert b"".join(reader.ranges(MIB)) == DATA


@pytest.fixture
def buildkit(unmerged_server: str, repository: str) -> Iterator[BuildKit]:
    with closing(BuildKit(unmerged_server, runtime_token(repository=repository))) as client:
        yield client


def test_buildkits_layer_is_read_by_its_many_parts(buildkit: BuildKit):
    layer = os.urandom(60 * MIB + 12345)
    buildkit.export_layer(layer)
    entry = buildkit.load(layer_key(layer))
    assert entry is not None

    assert len(PartListReader.of(entry.url).parts) == 61
    assert read_by_list(entry.url) == (layer, len(layer))


def test_list_is_marked_for_caches_and_dated(unmerged_job: Job):
    reply = ask(saved(unmerged_job, *BLOCKS))

    assert (reply.status, reply.headers["Content-Type"]) == (200, MEDIA_TYPE)
    assert (reply.headers["Cache-Control"], reply.headers["Vary"]) == ("no-store", "Accept")
    assert reply.headers["Content-Length"] == str(len(reply.body))
    assert reply.headers["Date"]


def test_look_is_answered_like_any_path_of_the_host(server: str):
    reply = send("GET", f"{server}/runner/status", headers={"User-Agent": "actions-cache-hook/1 (fast)"})

    assert (reply.status, reply.json, reply.headers["Cache-Control"]) == (200, {"ok": True}, "no-store")
