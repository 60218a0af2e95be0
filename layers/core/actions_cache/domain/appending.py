"""Append Blobs: pieces whose order is that of their arrival, or of the offsets that their client named."""

from collections.abc import Iterable
from posixpath import basename

from actions_cache.domain.archive import Part
from actions_cache.domain.errors import InvalidRequest
from actions_cache.domain.layout import ArchiveKeys

APPENDED_DIGEST = "appended"
"""Stands for the digest of a block list, where there is none."""


def assemble_appended(keys: ArchiveKeys, arrivals: Iterable[Part]) -> tuple[Part, ...]:
    """The pieces in their order. One that is sent again, to the offset of an earlier one, replaces it.

    Without offsets, two pieces that came through servers of the edge whose clocks differ by more than the first one
    took would change places; a client sends the next one only once it has the answer, and they are megabytes long.

    Raises:
        InvalidRequest: a piece names an offset that is neither the end of what was appended nor an earlier piece's.
    """
    parts: list[Part] = []
    starts: list[int] = []
    end = 0
    for part in sorted(arrivals, key=lambda arrival: basename(arrival.key)):
        offset = keys.offset_of_appended(part.key)
        if offset in (None, end):
            parts.append(part)
            starts.append(end)
            end += part.size
        elif offset in starts and parts[starts.index(offset)].size == part.size:
            parts[starts.index(offset)] = part
        else:
            raise InvalidRequest(f"a piece was appended at {offset}, but {end} bytes had come until then")
    return tuple(parts)
