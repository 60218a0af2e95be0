from dataclasses import replace

import pytest

from actions_cache.domain.archive import Archive, Commit, Merge, MergeState, Part
from actions_cache.domain.delivery import (
    MERGE_START_SECONDS,
    Delivery,
    PlainReason,
    StreamLimits,
    can_reach,
    choose_delivery,
    merge_seconds,
    why_not_listed,
)
from actions_cache.domain.merge_plan import MIB
from tests.unit.domain.build import MANIFEST, MERGED, stored_archive

NONE = StreamLimits()
LAMBDA = StreamLimits(max_bytes=200 * MIB, burst_bytes=6 * MIB, bytes_per_second=2 * MIB)


def choose(size, limits, *, parts=2, state=MergeState.QUEUED, may_wait=True):
    return choose_delivery(size=size, part_count=parts, merge_state=state, limits=limits, may_wait=may_wait)


@pytest.mark.parametrize("state", [MergeState.UNMERGED, MergeState.QUEUED, MergeState.RUNNING, MergeState.FAILED])
@pytest.mark.parametrize("size", [0, 1, 10**13])
def test_unlimited_archive_streams_at_once(size, state):
    """A stream never waits for a merge."""
    assert choose(size, NONE, state=state) is Delivery.STREAM


TEMPLATE = StreamLimits(max_bytes=199_000_000, burst_bytes=6_000_000, bytes_per_second=2_000_000)
"""The limits that the template sets: Lambda's, in decimal megabytes."""

SLOWEST_STREAM_AT_ONCE = 10_244_241
"""The largest archive of two parts whose stream lasts no longer than its merge is expected to."""


BUFFERED = StreamLimits(max_bytes=4_500_000, burst_bytes=6_000_000)
"""Lambda's only limit is the size where responses aren't streamed, as in `sam local start-api`."""


@pytest.mark.parametrize(
    ("size", "limits", "options", "delivery"),
    [
        *((size, LAMBDA, {}, Delivery.STREAM) for size in (0, 6 * MIB, 10 * MIB)),
        *((size, LAMBDA, {}, Delivery.WAIT) for size in (11 * MIB, 199 * MIB, 705 * MIB)),
        (200 * MIB, LAMBDA, {"may_wait": False}, Delivery.STREAM),
        (200 * MIB + 1, LAMBDA, {"may_wait": False}, Delivery.RETRY),
        # A merge that failed isn't awaited.
        (100 * MIB, LAMBDA, {"state": MergeState.FAILED}, Delivery.STREAM),
        (705 * MIB, LAMBDA, {"state": MergeState.FAILED}, Delivery.RETRY),
        # Blocks of 1 MiB pass through the worker, which is slower than streaming; blocks of 64 MiB are copied.
        (9 * MIB, LAMBDA, {"parts": 9}, Delivery.STREAM),
        (6_000_000, TEMPLATE, {}, Delivery.STREAM),
        (SLOWEST_STREAM_AT_ONCE, TEMPLATE, {}, Delivery.STREAM),
        (SLOWEST_STREAM_AT_ONCE + 1, TEMPLATE, {}, Delivery.WAIT),
        *((size, TEMPLATE, {}, Delivery.WAIT) for size in (199_000_000, 199_000_001, 705_000_000)),
        # A seek in a large archive is served at once, from the parts that it touches.
        (MIB, TEMPLATE, {"parts": 10_000}, Delivery.STREAM),
        (4_500_000, BUFFERED, {}, Delivery.STREAM),
        (4_500_001, BUFFERED, {}, Delivery.WAIT),
    ],
)
def test_limits_decide_when_to_wait(size, limits, options, delivery):
    assert choose(size, limits, **options) is delivery


@pytest.mark.parametrize("state", MergeState)
@pytest.mark.parametrize("may_wait", [True, False])
@pytest.mark.parametrize("parts", [1, 200, 10_000])
@pytest.mark.parametrize("size", [0, 199_000_000, 199_000_001, 705_000_000, 10**13])
def test_stream_fits_limit_and_wait_pays_off(size, parts, may_wait, state):
    delivery = choose(size, TEMPLATE, parts=parts, state=state, may_wait=may_wait)
    if delivery is Delivery.STREAM:
        assert size <= 199_000_000
    if delivery is Delivery.WAIT:
        assert may_wait
        assert state is not MergeState.FAILED
        assert not TEMPLATE.fits(size) or TEMPLATE.seconds(size) > merge_seconds(size, parts)


def test_throttling_starts_after_burst():
    assert [TEMPLATE.throttles(size) for size in (6_000_000, 6_000_001, 199_000_001)] == [False, True, True]
    assert not NONE.throttles(10**13)
    copied, uploaded = merge_seconds(705_000_000, 11), merge_seconds(705_000_000, 705)
    assert copied < MERGE_START_SECONDS + 1 < uploaded, "a merge by copies alone is short"


# ------------------------------------------------------------------ part lists


def in_parts(count: int, *, size: int = 705_000_000, state: MergeState = MergeState.UNMERGED) -> Archive:
    return stored_archive(Merge(state=state), commit=Commit("digest", size, count, MANIFEST))


@pytest.mark.parametrize(
    ("count", "reason"),
    [(1, None), (2, None), (1000, None), (1001, PlainReason.TOO_MANY_PARTS), (10_000, PlainReason.TOO_MANY_PARTS)],
)
@pytest.mark.parametrize("state", MergeState)
@pytest.mark.parametrize("size", [1, 199_000_001, 10**13])
def test_up_to_a_thousand_parts_are_listed(size: int, state: MergeState, count: int, reason: PlainReason | None):
    """Whatever the size is, and whether or not a merge is under way or has failed."""
    assert why_not_listed(in_parts(count, size=size, state=state), wants_all=True) is reason


@pytest.mark.parametrize("count", [2, 1000, 1001, 10_000])
def test_merged_archive_is_listed_as_one_object(count: int):
    merged = replace(in_parts(count, state=MergeState.MERGED), object=MERGED)
    assert why_not_listed(merged, wants_all=True) is None


@pytest.mark.parametrize("whole", [None, Part("blob", 0, '"e"')])
def test_empty_archive_is_not_listed(whole: Part | None):
    assert why_not_listed(replace(in_parts(1, size=0), object=whole), wants_all=True) is PlainReason.EMPTY


def test_range_is_not_listed():
    assert why_not_listed(in_parts(2), wants_all=False) is PlainReason.RANGE
    assert why_not_listed(in_parts(1001), wants_all=False) is PlainReason.RANGE


@pytest.mark.parametrize(
    ("store", "server", "reachable"),
    [
        ("https://b.s3.eu-central-1.amazonaws.com/", "https://cache.example", True),
        ("https://b.s3.eu-central-1.amazonaws.com/", "http://cache.example", True),
        ("http://127.0.0.1:8333/b/", "http://127.0.0.1:3000", True),
        ("http://127.0.0.1:8333/b/", "http://localhost:3000", True),
        ("http://localhost:8333/b/", "http://[::1]:3000", True),
        ("http://127.0.0.1:8333/b/", "https://localhost", True),
        ("http://127.0.0.1:8333/b/", "http://10.0.0.7:3000", False),
        ("https://localhost:8333/b/", "https://cache.example", False),
        ("http://store:9000/b/", "http://cache.example", True),
        ("http://store:9000/b/", "https://cache.example", False),
        ("http://127.0.0.1:8333/b/", "http://[half", False),
        ("http://127.0.0.1:8333/b/", "", False),
    ],
)
def test_list_leads_only_where_its_reader_can_go(store: str, server: str, reachable: bool):
    assert can_reach(store, server) is reachable
