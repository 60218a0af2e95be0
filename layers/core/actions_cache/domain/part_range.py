"""Runs of bytes inside parts: what the stream fetches and the merge copies."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from actions_cache.domain.archive import Part
from actions_cache.domain.byte_range import ByteRange


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


def whole(part: Part) -> PartRange:
    return PartRange(part, 0, part.size)


def cover(parts: Iterable[Part], wanted: ByteRange, longest: int) -> Iterator[PartRange]:
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
