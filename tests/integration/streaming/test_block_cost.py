"""The requests that a block costs: a layer of BuildKit's is a thousand blocks, one after the other."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from dev.clients.buildkit import BLOCK_BYTES, BuildKit
from dev.clients.runtime_token import runtime_token
from dev.emulation.api_gateway import local_run
from dev.emulation.proxy import StoreProxy, StoreRequest
from dev.local import emulators

BLOCKS = 300


class Watched(NamedTuple):
    url: str
    store: StoreProxy
    rest: StoreProxy
    """Proxy before tables and queue."""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Start a local run that sends only what requests need: no worker polls the queue, and no schedule fires."""
    with ExitStack() as stack:
        endpoints = stack.enter_context(emulators.start(tmp_path_factory.mktemp("emulators")))
        store, rest = StoreProxy(endpoints.store), StoreProxy(endpoints.table)
        rest_url = stack.enter_context(rest.served())
        settings = {
            "LOCAL_MERGE_WORKERS": "0",
            "CLEANUP_INTERVAL_SECONDS": "86400",
            **endpoints.settings_with_store(stack.enter_context(store.served())),
            **dict.fromkeys(("TABLE_ENDPOINT_URL", "QUEUE_ENDPOINT_URL"), rest_url),
        }
        run = stack.enter_context(local_run(tmp_path_factory.mktemp("run"), settings))
        watched = Watched(run.url, store, rest)
        requests_of(watched, 1, "1")  # a new process reads the schema first
        yield watched


class Requests(NamedTuple):
    of_blocks: list[StoreRequest]
    to_store: list[StoreRequest]
    to_rest: list[StoreRequest]
    blocks_to_rest: int


def requests_of(watched: Watched, blocks: int, repository: str) -> Requests:
    """Save so many blocks, and return the requests for the blocks alone, and for all of the save."""
    client = BuildKit(watched.url, runtime_token(repository=repository))
    store, rest = watched.store.requests, watched.rest.requests
    store.clear()
    rest.clear()
    url = client.reserve("layer")
    began = len(store), len(rest)
    ids = client.put_blocks(url, os.urandom(blocks * BLOCK_BYTES))
    of_blocks, to_rest = store[began[0] :], len(rest) - began[1]
    client.commit(url, ids)
    client.finalize("layer", blocks * BLOCK_BYTES)
    client.close()
    return Requests(of_blocks, list(store), list(rest), to_rest)


@pytest.mark.client("BuildKit", version="The requests of go-actions-cache", feature="a block costs one bucket write")
def test_block_costs_one_write_to_the_bucket(watched: Watched, repository: str):
    """A save's other requests don't grow with blocks, but for a page of the listing for each 1,000."""
    few, save = (requests_of(watched, blocks, f"{repository}{blocks}") for blocks in (3, BLOCKS))

    assert [request.method for request in save.of_blocks] == ["PUT"] * BLOCKS
    assert len({request.path for request in save.of_blocks}) == BLOCKS
    assert save.blocks_to_rest == 0

    assert len(save.to_store) - BLOCKS == len(few.to_store) - 3 == 2, "the listing of the blocks, and the manifest"
    assert len(save.to_rest) == len(few.to_rest)
