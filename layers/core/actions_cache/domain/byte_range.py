"""Single byte ranges, as `Range` and `x-ms-range` ask for them."""

import re
from dataclasses import dataclass

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
