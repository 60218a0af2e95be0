"""Uploads of the v1 API: pieces that say where they belong, in any order (WIRE.md section 7)."""

import re
from collections.abc import Iterable
from posixpath import basename

from actions_cache.domain.archive import Part
from actions_cache.domain.byte_range import ByteRange
from actions_cache.domain.errors import InvalidRequest
from actions_cache.domain.layout import ArchiveKeys

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/(?:\*|[0-9]{1,15})")


def parse_content_range(header: str | None) -> ByteRange:
    """Where a piece belongs. Raises InvalidRequest unless it is `bytes FIRST-LAST/*`."""
    found = _CONTENT_RANGE.fullmatch(header or "")
    if found is None or int(found[2]) < int(found[1]):
        raise InvalidRequest("Content-Range must say where the piece belongs: bytes FIRST-LAST/*")
    return ByteRange(int(found[1]), int(found[2]) + 1)


def pieces_digest(size: int) -> str:
    """Stands for the digest of a block list, where there is none: a repeated commit is known by its size."""
    return f"pieces of {size}"


def assemble_pieces(keys: ArchiveKeys, size: int, arrivals: Iterable[Part]) -> tuple[Part, ...]:
    """The pieces in the order of their bytes; of one that was sent again, what arrived last.

    Raises:
        InvalidRequest: they aren't exactly `size` bytes without a gap: one is missing, or two overlap.
    """
    newest: dict[tuple[int, int], Part] = {}
    for part in arrivals:
        place = keys.place_of_piece(part.key)
        if place not in newest or basename(newest[place].key) < basename(part.key):
            newest[place] = part
    end = 0
    for start, piece_end in sorted(newest):
        if start > end:
            raise InvalidRequest(f"the bytes from {end} to {start - 1} never arrived")
        if start < end:
            raise InvalidRequest(f"two pieces bring the byte {start}; send a piece again as it was, or reserve anew")
        end = piece_end
    if end != size:
        raise InvalidRequest(f"the size is {size}, but {end} bytes arrived")
    return tuple(newest[place] for place in sorted(newest))
