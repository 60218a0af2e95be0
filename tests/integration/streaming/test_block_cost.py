"""A layer of BuildKit's is a thousand blocks, one after the other: what one costs the services, counted."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from dev.clients.buildkit import BLOCK_BYTES, BuildKit
from dev.clients.runtime_token import runtime_token
from dev.emulation.api_gateway import local_run
from dev.emulation.proxy import QueryParams, StoreProxy
from dev.local import emulators

BLOCKS = 300


class Watched(NamedTuple):
    url: str
    store: StoreProxy
    rest: StoreProxy
    """Tables and queue."""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Nothing is asked here but for the requests: no worker polls the queue, and no schedule fires."""
    with ExitStack() as stack:
        endpoints = stack.enter_context(emulators.start(tmp_path_factory.mktemp("engines")))
        store, rest = StoreProxy(endpoints.store), StoreProxy(endpoints.table)
        rest_url = stack.enter_context(rest.served())
        settings = {
            "LOCAL_MERGE_WORKERS": "0",
            "CLEANUP_INTERVAL_SECONDS": "86400",
            "STORE_ENDPOINT_URL": stack.enter_context(store.served()),
            **dict.fromkeys(("TABLE_ENDPOINT_URL", "QUEUE_ENDPOINT_URL"), rest_url),
            "AWS_ACCESS_KEY_ID": endpoints.credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": endpoints.credentials.secret_access_key,
            "AWS_REGION": endpoints.region,
        }
        run = stack.enter_context(local_run(tmp_path_factory.mktemp("run"), settings))
        yield Watched(run.url, store, rest)


class Counted(NamedTuple):
    by_store: list[QueryParams]
    by_rest: list[QueryParams]


def asked_by(watched: Watched, blocks: int, repository: str) -> tuple[Counted, Counted]:
    """For the blocks alone, and for all of the save."""
    client = BuildKit(watched.url, runtime_token(repository=repository))
    store, rest = len(watched.store.requests), len(watched.rest.requests)
    url = client.reserve("layer")
    began = len(watched.store.requests), len(watched.rest.requests)
    ids = client.put_blocks(url, os.urandom(blocks * BLOCK_BYTES))
    of_blocks = Counted(watched.store.requests[began[0] :], watched.rest.requests[began[1] :])
    client.commit(url, ids)
    client.finalize("layer", blocks * BLOCK_BYTES)
    client.close()
    return of_blocks, Counted(watched.store.requests[store:], watched.rest.requests[rest:])


@pytest.mark.client(
    "BuildKit", version="go-actions-cache, request by request", feature="a block costs one bucket write"
)
def test_block_costs_one_bucket_write(watched: Watched, repository: str):
    of_blocks, _ = asked_by(watched, BLOCKS, repository)

    assert [asked.method for asked in of_blocks.by_store] == ["PUT"] * BLOCKS
    assert len({asked.path for asked in of_blocks.by_store}) == BLOCKS
    assert of_blocks.by_rest == []


def test_save_overhead_is_independent_of_block_count(watched: Watched, repository: str):
    """Until a listing has more than one page: every 1,000 blocks."""
    few, many = (asked_by(watched, blocks, f"{repository}{blocks}")[1] for blocks in (3, 30))

    assert len(many.by_store) - 30 == len(few.by_store) - 3 == 2, "the listing of the blocks, and the manifest"
    assert len(many.by_rest) == len(few.by_rest)
