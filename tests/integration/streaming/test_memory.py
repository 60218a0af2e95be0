"""What the functions that serve HTTP hold in memory, as the operating system sees it (`make bench` has more sizes)."""

import pytest

from dev.bench import memory
from dev.emulation.api_gateway import MB, PLAIN_STREAMING, Caps, LocalRun


@pytest.fixture
def variables(unmerged: LocalRun) -> dict[str, str]:
    return unmerged.download_variables(Caps(), PLAIN_STREAMING)


def test_stream_memory_is_bounded_per_reader(unmerged, variables):
    """All that may be read ahead is, since the readers pause."""
    short, long = (memory.saved(unmerged, size) for size in (100 * MB, 400 * MB))
    alone = memory.of_download(unmerged, variables, [short])
    assert alone <= memory.DOWNLOAD
    assert memory.of_download(unmerged, variables, [long]) <= memory.DOWNLOAD
    further = 3
    together = memory.of_download(unmerged, variables, [long] * (1 + further))
    assert together <= memory.DOWNLOAD + further * memory.FURTHER_READER


def test_small_parts_use_no_extra_memory(unmerged, variables):
    layer = memory.saved(unmerged, 100 * memory.MIB, block_bytes=memory.MIB)
    assert memory.of_download(unmerged, variables, [layer]) <= memory.DOWNLOAD


def test_api_memory_is_bounded(unmerged):
    assert memory.of_api(unmerged, calls=50) <= memory.API
