"""BuildKit's export and import of a cache, in its own order of requests, on a merging and on a never merging server."""

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import pytest

from dev.clients.buildkit import REPRODUCED, AlreadyExists, BuildKit, Entry, GoFails, index_key, layer_key
from dev.clients.runtime_token import BRANCH, DEFAULT_BRANCH, READ, READ_WRITE, runtime_token
from dev.clients.wire import ACTIONS_CACHE, MERGE_SECONDS, Job

pytestmark = pytest.mark.client("BuildKit", version=REPRODUCED)

MIB = 1024 * 1024
BLOCKS = 40


@pytest.fixture(scope="module")
def layer() -> bytes:
    return os.urandom(BLOCKS * MIB)


@dataclass(frozen=True)
class Exported:
    client: BuildKit
    read_at_once: bytes
    """Layer as it was read back at once, during the merge if there was one."""


def entry_of(client: BuildKit, layer: bytes) -> Entry:
    entry = client.load(layer_key(layer))
    assert entry is not None
    return entry


@pytest.fixture(scope="module", params=["server", "unmerged_server"], ids=["merging", "never merging"])
def exported(request: pytest.FixtureRequest, layer: bytes) -> Iterator[Exported]:
    server, repository = request.getfixturevalue(request.param), str(uuid.uuid4().int % 10**12)
    with closing(BuildKit(server, runtime_token(repository=repository))) as client:
        assert client.export_layer(layer)
        exported = Exported(client, entry_of(client, layer).read())
        if request.param == "server":
            wait_until_merged(client, layer)
        yield exported


def wait_until_merged(client: BuildKit, layer: bytes) -> None:
    """Then our URL of the object itself is given out, by its own path."""
    deadline = time.monotonic() + MERGE_SECONDS
    while "/blobs/download/" in entry_of(client, layer).url:
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.client(feature="a layer of 40 MiB, in blocks of 1 MiB")
def test_large_layer_is_read_during_and_after_merge(exported: Exported, layer: bytes):
    assert exported.client.blocks_sent == BLOCKS
    assert exported.read_at_once == layer
    assert entry_of(exported.client, layer).read() == layer


@pytest.mark.client(feature="seeks")
@pytest.mark.parametrize("offset", [1, MIB - 1, MIB, 17 * MIB + 12345, BLOCKS * MIB - 1])
def test_reader_seeks_to_any_offset(exported: Exported, layer: bytes, offset: int):
    entry = entry_of(exported.client, layer)

    assert entry.read_at(offset, 3 * MIB) == layer[offset : offset + 3 * MIB]
    assert entry.read_at(0, 10) == layer[:10]


@pytest.mark.client(feature="an existing layer isn't sent again")
def test_existing_layer_is_not_sent_again(exported: Exported, layer: bytes):
    blocks = exported.client.blocks_sent

    assert not exported.client.export_layer(layer)
    with pytest.raises(AlreadyExists):
        exported.client.save(layer_key(layer), layer)
    assert exported.client.blocks_sent == blocks


@pytest.mark.client(feature="a refused URL is looked up again")
def test_refused_url_is_looked_up_again(exported: Exported, layer: bytes):
    entry = entry_of(exported.client, layer)
    entry.url = entry.url.replace("sig=", "sig=A")

    assert entry.read_at(5, 10) == layer[5:15]


# ------------------------------------------------------------------ the index


@pytest.fixture
def client(server: str, repository: str) -> Iterator[BuildKit]:
    with closing(BuildKit(server, runtime_token(repository=repository))) as client:
        yield client


@pytest.mark.client(feature="the newest index, past what dead exports hold")
def test_newest_index_is_read_past_nine(client: BuildKit):
    """Sorted by their texts, #9 would be the last."""
    keys = [client.export_index(BRANCH, f"index {i}".encode()) for i in range(1, 11)]

    assert [key.partition("#")[2] for key in keys] == [str(i) for i in range(1, 11)]
    assert client.import_index(BRANCH) == b"index 10"


@pytest.mark.client(feature="the newest index, past what dead exports hold")
def test_abandoned_index_number_is_skipped(client: BuildKit):
    client.export_index(BRANCH, b"first")
    client.reserve(f"{index_key(BRANCH)}#2")

    assert client.import_index(BRANCH) == b"first"
    assert client.export_index(BRANCH, b"third").endswith("#3")
    assert client.import_index(BRANCH) == b"third"


@pytest.mark.client(feature="branches import from the default branch, not the reverse")
def test_branch_imports_from_default_branch(client: BuildKit, repository: str, layer: bytes):
    on_default_branch = replace(client, token=runtime_token([(DEFAULT_BRANCH, READ_WRITE)], repository))
    on_branch = replace(client, token=runtime_token([(BRANCH, READ_WRITE), (DEFAULT_BRANCH, READ)], repository))
    common, own = layer[: 3 * MIB + 1], layer[: MIB - 1]
    on_default_branch.export_layer(common)
    on_default_branch.export_index(DEFAULT_BRANCH, b"of the default branch")
    on_branch.export_layer(own)
    on_branch.export_index(BRANCH, b"of the branch")

    indices = [on_branch.import_index(scope) for scope in (BRANCH, DEFAULT_BRANCH)]
    entries = [on_branch.load(layer_key(data)) for data in (common, own)]

    assert indices == [b"of the branch", b"of the default branch"]
    assert [entry and entry.read() for entry in entries] == [common, own]
    assert on_default_branch.import_index(BRANCH) is None
    assert on_default_branch.load(layer_key(own)) is None


@pytest.mark.client(feature="a read-only token fails the export")
def test_read_only_token_fails_export(client: BuildKit, repository: str):
    read_only = replace(client, token=runtime_token([(BRANCH, READ)], repository))

    with pytest.raises(GoFails, match="failed to reserve cache"):
        read_only.export_index(BRANCH, b"index")


@pytest.mark.client(feature="@actions/cache doesn't see its entries")
def test_lookup_by_other_client_misses(client: BuildKit):
    key = client.export_index(BRANCH, b"index")

    assert not Job(client.server, client.token, ACTIONS_CACHE).look_up(key)["ok"]
