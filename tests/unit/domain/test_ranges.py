import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions_cache.domain.archive import Part
from actions_cache.domain.errors import RangeNotSatisfiable
from actions_cache.domain.ranges import ByteRange, parse_range, split


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", ByteRange(0, 1)),
        ("bytes=0-9", ByteRange(0, 10)),
        ("bytes=0-99", ByteRange(0, 10)),
        ("bytes=9-9", ByteRange(9, 10)),
        ("bytes=3-", ByteRange(3, 10)),
        ("bytes=-4", ByteRange(6, 10)),
        ("bytes=-99", ByteRange(0, 10)),
        ("Bytes = 2 - 4", ByteRange(2, 5)),
        (f"bytes={'0' * 5000}1-{'9' * 5000}", ByteRange(1, 10)),
    ],
)
def test_single_range_is_clipped_to_archive(header, expected):
    assert parse_range(header, 10) == expected


@pytest.mark.parametrize(
    "header", [None, "", "bytes=", "bytes=-", "bytes=5-4", "bytes=0-1,3", "items=0-1", "bytes=a-b"]
)
def test_unsupported_range_is_ignored(header):
    """RFC 9110 section 14.2 allows this."""
    assert parse_range(header, 10) is None


@pytest.mark.parametrize(
    ("header", "size"),
    [("bytes=10-", 10), ("bytes=11-12", 9), ("bytes=-0", 9), ("bytes=0-0", 0), (f"bytes={'9' * 5000}-", 9)],
)
def test_range_past_end_is_unsatisfiable(header, size):
    with pytest.raises(RangeNotSatisfiable) as refused:
        parse_range(header, size)
    assert refused.value.size == size


@given(st.lists(st.integers(0, 20), max_size=10), st.integers(0, 220), st.integers(0, 220), st.integers(1, 9))
def test_split_yields_exactly_wanted_bytes(sizes, a, b, longest):
    parts = [Part(str(i), size, "") for i, size in enumerate(sizes)]
    total = sum(sizes)
    requested = ByteRange(min(a, b, total), min(max(a, b), total))
    every_byte = [(part.key, offset) for part in parts for offset in range(part.size)]

    ranges = list(split(parts, requested, longest))

    assert [(found.part.key, i) for found in ranges for i in range(found.start, found.end)] == every_byte[
        requested.start : requested.end
    ]
    assert all(0 < found.size <= longest for found in ranges)
