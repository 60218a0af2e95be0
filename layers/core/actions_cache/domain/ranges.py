"""Single byte ranges, as `Range` and `x-ms-range` ask for them."""

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
        return f"bytes {self.start}-{self.end - 1}/{total}"


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """The asked range of `size` bytes; None where all of them are to be sent.

    As RFC 9110 section 14.2 has it, what isn't a single, well-formed byte range is ignored.

    Raises:
        RangeNotSatisfiable: the range begins behind the last byte.
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
    """Python refuses numbers of more than 4,300 digits; no archive has more bytes than nineteen can say."""
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
        return self.size == self.part.size


def full_range(part: Part) -> PartRange:
    return PartRange(part, 0, part.size)


def split(parts: Iterable[Part], wanted: ByteRange, longest: int) -> Iterator[PartRange]:
    """The ranges of the parts that make up the wanted bytes, in order, none of more than `longest` bytes.

    Only parts that hold wanted bytes are touched.
    """
    offset = 0
    for part in parts:
        start, end = max(wanted.start - offset, 0), min(wanted.end - offset, part.size)
        for piece_start in range(start, end, longest):
            yield PartRange(part, piece_start, min(piece_start + longest, end))
        offset += part.size
        if offset >= wanted.end:
            return


def fits_if_match(header: str | None, etag: str) -> bool:
    """Return whether If-Match lets the request through (section 13.1.1): weak tags never do."""
    tags = ["*"] if header is None else [tag.strip() for tag in header.split(",")]
    return "*" in tags or etag in tags


def range_applies(if_range: str | None, etag: str) -> bool:
    """Return whether `Range` is honoured (section 13.1.5); otherwise the client gets the whole, to begin anew.

    A date never fits: the edge, which answers for the same archive, doesn't know its date.
    """
    return if_range is None or if_range.strip() == etag
