import pytest

from actions_cache.domain.archive import MergeState
from actions_cache.domain.delivery import (
    MERGE_START_SECONDS,
    MIB,
    Delivery,
    StreamLimits,
    choose_delivery,
    client_reads_from_s3,
    merge_seconds,
)

NONE = StreamLimits()
LAMBDA = StreamLimits(max_bytes=200 * MIB, burst_bytes=6 * MIB, bytes_per_second=2 * MIB)


def choose(size, limits, *, parts=2, state=MergeState.QUEUED, may_wait=True):
    return choose_delivery(size=size, part_count=parts, merge_state=state, limits=limits, may_wait=may_wait)


@pytest.mark.parametrize("state", [MergeState.UNMERGED, MergeState.QUEUED, MergeState.RUNNING, MergeState.FAILED])
@pytest.mark.parametrize("size", [0, 1, 10**13])
def test_without_limits_every_archive_streams_at_once_whatever_its_merge_does(size, state):
    """A stream never waits for a merge."""
    assert choose(size, NONE, state=state) is Delivery.STREAM


@pytest.mark.parametrize("size", [0, 6 * MIB, 10 * MIB])
def test_on_lambda_a_small_archive_streams_at_once(size):
    assert choose(size, LAMBDA) is Delivery.STREAM


@pytest.mark.parametrize("size", [11 * MIB, 199 * MIB, 705 * MIB])
def test_on_lambda_a_large_archive_waits_for_its_merge(size):
    assert choose(size, LAMBDA) is Delivery.WAIT


def test_after_the_wait_what_fits_the_wall_streams_and_what_does_not_is_asked_for_again():
    assert choose(200 * MIB, LAMBDA, may_wait=False) is Delivery.STREAM
    assert choose(200 * MIB + 1, LAMBDA, may_wait=False) is Delivery.RETRY


def test_nobody_waits_for_a_failed_merge():
    assert choose(100 * MIB, LAMBDA, state=MergeState.FAILED) is Delivery.STREAM
    assert choose(705 * MIB, LAMBDA, state=MergeState.FAILED) is Delivery.RETRY


def test_a_merge_through_the_worker_is_waited_for_only_where_it_is_faster():
    """16 MiB of 1 MiB blocks take the worker longer than 5 s of streaming; 64 MiB blocks are copied."""
    assert choose(9 * MIB, LAMBDA, parts=9) is Delivery.STREAM


# What the template sets: Lambda's caps, in its own megabytes.
TEMPLATE = StreamLimits(max_bytes=199_000_000, burst_bytes=6_000_000, bytes_per_second=2_000_000)
SLOWEST_STREAM_AT_ONCE = 10_244_241
"""The largest archive of two parts whose stream lasts no longer than its merge is expected to."""


@pytest.mark.parametrize(
    ("size", "delivery"),
    [
        (6_000_000, Delivery.STREAM),
        (SLOWEST_STREAM_AT_ONCE, Delivery.STREAM),
        (SLOWEST_STREAM_AT_ONCE + 1, Delivery.WAIT),
        (199_000_000, Delivery.WAIT),
        (199_000_001, Delivery.WAIT),
        (705_000_000, Delivery.WAIT),
    ],
)
def test_under_the_templates_limits_a_download_waits_from_where_its_merge_is_the_faster(size, delivery):
    assert choose(size, TEMPLATE) is delivery


@pytest.mark.parametrize("state", MergeState)
@pytest.mark.parametrize("may_wait", [True, False])
@pytest.mark.parametrize("parts", [1, 200, 10_000])
@pytest.mark.parametrize("size", [0, 199_000_000, 199_000_001, 705_000_000, 10**13])
def test_whatever_is_streamed_ends_before_the_wall_and_whoever_waits_gains_by_it(size, parts, may_wait, state):
    delivery = choose(size, TEMPLATE, parts=parts, state=state, may_wait=may_wait)
    if delivery is Delivery.STREAM:
        assert size <= 199_000_000
    if delivery is Delivery.WAIT:
        assert may_wait
        assert state is not MergeState.FAILED
        assert not TEMPLATE.fits(size) or TEMPLATE.seconds(size) > merge_seconds(size, parts)


def test_without_a_pace_but_with_a_wall_only_what_hits_it_waits():
    """Lambda's answer that doesn't stream: `sam local start-api`."""
    buffered = StreamLimits(max_bytes=4_500_000, burst_bytes=6_000_000)
    assert choose(4_500_000, buffered) is Delivery.STREAM
    assert choose(4_500_001, buffered) is Delivery.WAIT


def test_the_bytes_that_are_asked_for_count_not_the_archives():
    """A seek in a large archive is served at once, from the parts that it touches."""
    assert choose(MIB, TEMPLATE, parts=10_000) is Delivery.STREAM


def test_a_response_is_hindered_where_the_pace_begins_to_tell():
    assert [TEMPLATE.throttles(size) for size in (6_000_000, 6_000_001, 199_000_001)] == [False, True, True]
    assert not NONE.throttles(10**13)


def test_a_merge_by_copies_is_expected_to_take_little_more_than_its_start():
    assert merge_seconds(705_000_000, 11) < MERGE_START_SECONDS + 1 < merge_seconds(705_000_000, 705)


@pytest.mark.parametrize(
    ("user_agent", "plainly"),
    [
        ("@actions/cache-6.3.0", True),
        ("opendal/0.47.12", True),
        ("sccache/0.16.0", True),
        ("Go-http-client/1.1", False),
        ("azsdk-python-storage-blob/12.31", False),
        ("", False),
        ("curl @actions/cache-6.3.0", False),
    ],
)
def test_only_clients_known_to_read_plainly_are_sent_to_s3(user_agent, plainly):
    assert client_reads_from_s3(user_agent) is plainly
