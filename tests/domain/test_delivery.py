import pytest

from actions_cache.domain.archive import MergeState
from actions_cache.domain.delivery import MIB, Delivery, StreamLimits, choose_delivery, is_plain_reader

NONE = StreamLimits()
LAMBDA = StreamLimits(max_bytes=200 * MIB, burst_bytes=6 * MIB, bytes_per_second=2 * MIB)


def choose(size, limits, *, parts=2, state=MergeState.QUEUED, may_wait=True):
    return choose_delivery(size=size, part_count=parts, merge_state=state, limits=limits, may_wait=may_wait)


@pytest.mark.parametrize("state", [MergeState.UNMERGED, MergeState.QUEUED, MergeState.RUNNING, MergeState.FAILED])
@pytest.mark.parametrize("size", [0, 1, 10**13])
def test_without_limits_every_archive_streams_at_once_whatever_its_merge_does(size, state):
    """P1."""
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
    assert is_plain_reader(user_agent) is plainly
