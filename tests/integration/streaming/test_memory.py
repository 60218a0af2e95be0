"""Resident memory of the download function, as the operating system counts it (`make bench` has more sizes)."""

import pytest

from dev.bench.memory import DOWNLOAD, FURTHER_READER, of_download, saved
from dev.emulation.api_gateway import MB, PLAIN_STREAMING, Caps, LocalRun

MIB = 1024 * 1024


@pytest.fixture
def variables(unmerged: LocalRun) -> dict[str, str]:
    return unmerged.download_variables(Caps(), PLAIN_STREAMING)


def test_stream_of_any_length_is_held_in_little_memory(unmerged: LocalRun, variables: dict[str, str]) -> None:
    """All that may be read ahead is, since the readers pause."""
    short, long = (saved(unmerged, size) for size in (100 * MB, 400 * MB))
    assert of_download(unmerged, variables, [short]) <= DOWNLOAD
    assert of_download(unmerged, variables, [long]) <= DOWNLOAD
    further = 3
    together = of_download(unmerged, variables, [long] * (1 + further))
    assert together <= DOWNLOAD + further * FURTHER_READER


def test_small_parts_use_no_extra_memory(unmerged: LocalRun, variables: dict[str, str]) -> None:
    layer = saved(unmerged, 100 * MIB, block_bytes=MIB)
    assert of_download(unmerged, variables, [layer]) <= DOWNLOAD
