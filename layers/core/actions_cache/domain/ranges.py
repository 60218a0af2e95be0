"""Byte ranges, as `Range` and `x-ms-range` request them, and the parts that they touch."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from actions_cache.domain.archive import Part
from actions_cache.domain.errors import RangeNotSatisfiable

_SINGLE_RANGE = re.compile(r"\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes from `start` up to, not including, `end`."""

    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start

    def content_range(self, total: int) -> str:
        """Return the Content-Range header for this range of `total` bytes."""
        return f"bytes {self.start}-{self.end - 1}/{total}"


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """Return the requested range of `size` bytes; None if all of them are to be sent.

    Anything but a single, well-formed byte range is ignored, as RFC 9110 section 14.2 allows.

    Raises:
        RangeNotSatisfiable: the range begins after the last byte.
    """
    match = _SINGLE_RANGE.fullmatch(header or "")
    if match is None:
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if not first:
        start, end = max(0, size - _offset(last)), size
    else:
        start, end = _offset(first), min(size, _offset(last) + 1) if last else size
        if last and _offset(last) < start:
            return None
    if start >= end:
        raise RangeNotSatisfiable(size)
    return ByteRange(start, end)


def _offset(digits: str) -> int:
    """Return the number, or a larger one than any archive's size instead of one with more than 20 digits.

    Python refuses to convert more than 4,300 digits.
    """
    return int(digits.lstrip("0")[:20] or "0")


@dataclass(frozen=True, slots=True)
class PartRange:
    """Bytes from `start` up to, not including, `end` of one part."""

    part: Part
    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start

    @property
    def is_whole(self) -> bool:
        """Return whether the range is all of its part."""
        return self.size == self.part.size


def full_range(part: Part) -> PartRange:
    """Return the range of all bytes of the part."""
    return PartRange(part, 0, part.size)


def split(parts: Iterable[Part], requested: ByteRange, longest: int) -> Iterator[PartRange]:
    """Yield the ranges of the parts that make up the requested bytes, in order, and no other part.

    Args:
        parts: The parts of the archive.
        requested: The range of the archive.
        longest: Most bytes of one yielded range.
    """
    offset = 0
    for part in parts:
        start, end = max(requested.start - offset, 0), min(requested.end - offset, part.size)
        for range_start in range(start, end, longest):
            yield PartRange(part, range_start, min(range_start + longest, end))
        offset += part.size
        if offset >= requested.end:
            return


def fits_if_match(header: str | None, etag: str) -> bool:
    """Return whether If-Match lets the request through; a weak tag never does (RFC 9110 section 13.1.1)."""
    tags = ["*"] if header is None else [tag.strip() for tag in header.split(",")]
    return "*" in tags or etag in tags


def range_applies(if_range: str | None, etag: str) -> bool:
    """Return whether `Range` applies; if not, the client gets all bytes and starts over (RFC 9110 section 13.1.5).

    A date never matches, because the edge, which answers for the same archive, doesn't know the archive's date.
    """
    return if_range is None or if_range.strip() == etag
