"""However an upload's URL was used, a request that lists it is bounded in number, memory and time."""

import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from types import SimpleNamespace
from typing import Any, cast

import pytest

from actions_cache.archives import LISTING_TIME, PAGE
from actions_cache.direct import CompleteDirect
from actions_cache.domain.archive import Archive, Part
from actions_cache.domain.errors import NotFound, TooLarge, TryAgain
from actions_cache.domain.object_keys import ArchiveKeys
from actions_cache.domain.timing import SECOND
from actions_cache.domain.uploads import MAX_ARRIVALS, MAX_BLOCKS
from actions_cache.save import CommitUpload, Finalize, ListBlocks
from dev.clients.driver import SetClock
from tests.unit.domain.build import ID, archive

API_GATEWAY_SECONDS = 29
MIB = 1024 * 1024
KEYS = ArchiveKeys(ID)


@dataclass
class FloodedBucket:
    """Simulates a bucket with any number of arrived parts; each page of a list takes time."""

    clock: SetClock
    arrivals: int
    page_ms: int = 0
    listed: int = 0

    def list(self, prefix: str, after: str = "") -> Iterator[Part]:
        for number in count():
            if number % PAGE == 0:
                self.clock.at += self.page_ms
            if number == self.arrivals:
                return
            self.listed += 1
            yield Part(self._key(prefix, number), 1, f'"{number:032x}"')

    def _key(self, prefix: str, number: int) -> str:
        if prefix == KEYS.chunks_prefix:
            return f"{prefix}{number:015d}-{number + 1:015d}/{number:013d}-r"
        return f"{KEYS.blocks_prefix}{number:08d}/{number:013d}-r"


def send(request_: str, clock: SetClock, bucket: FloodedBucket) -> Any:
    table = SimpleNamespace(archive=lambda _: open_upload(), reservation=lambda _: open_upload().reservation)
    unused = cast("Any", None)
    store: Any = bucket
    commit = CommitUpload(cast("Any", table), store, unused, clock, CompleteDirect(cast("Any", table), store))
    finalize = Finalize(
        cast("Any", table),
        clock,
        commit,
        unused,
        unused,
        unused,
        unused,
        merges_at_finalize=True,
        telemetry=unused,
    )
    requests = {
        "the block list": lambda: ListBlocks(cast("Any", table), store, unused, clock, unused)(ID),
        "Put Block List": lambda: commit.block_list(ID, ["QQ=="]),
        "Finalize": lambda: finalize(open_upload().name, 1),
        "Append Blob Seal": lambda: commit.seal(ID),
        "a commit of v1": lambda: finalize.chunks(open_upload(), 1),
    }
    return requests[request_]()


def open_upload() -> Archive:
    return archive(reservation_expires_at=10**15)


REQUESTS = ["the block list", "Put Block List", "Finalize", "Append Blob Seal", "a commit of v1"]


@pytest.mark.parametrize("request_", REQUESTS)
def test_listing_stops_after_maximum_arrivals(request_):
    clock = SetClock()
    bucket = FloodedBucket(clock, 800_000)
    with pytest.raises(TooLarge, match=f"more than {MAX_ARRIVALS} parts arrived"):
        send(request_, clock, bucket)
    assert bucket.listed == MAX_ARRIVALS + 1


@pytest.mark.parametrize("request_", REQUESTS)
def test_slow_listing_ends_before_gateway_timeout(request_):
    clock = SetClock()
    began = clock.at
    with pytest.raises(TryAgain, match="20 s"):
        send(request_, clock, FloodedBucket(clock, 800_000, page_ms=1500))
    assert LISTING_TIME < clock.at - began < (API_GATEWAY_SECONDS - 5) * SECOND


def test_full_upload_is_listed_in_time():
    clock = SetClock()
    began = clock.at
    blocks = send("the block list", clock, FloodedBucket(clock, MAX_ARRIVALS, page_ms=150))
    assert len(blocks.uncommitted) == MAX_ARRIVALS == 2 * MAX_BLOCKS
    assert clock.at - began < LISTING_TIME
    with pytest.raises(NotFound, match="nothing was uploaded"):
        send("the block list", clock, FloodedBucket(clock, 0))


@pytest.mark.parametrize("request_", REQUESTS)
def test_flood_uses_bounded_memory(request_, monkeypatch):
    """Test a tenth of a full flood: 800,000 arrivals in one dict were 472 MB, and an API function has 1,024."""
    monkeypatch.setattr("actions_cache.archives.MAX_ARRIVALS", MAX_ARRIVALS // 10)
    clock = SetClock()
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            send(request_, clock, FloodedBucket(clock, 800_000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * MIB
