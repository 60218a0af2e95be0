"""Append Blobs: pieces whose order is that of their arrival, or of the offsets that their client named.

The edge doesn't know where a blob ends, and Azure's SDK for Python asks: it counts from the offset that its first
append, which names none, was answered, and names the offset of each later one. So an append that names none is answered
0, and the offsets that follow it count from it.
"""

from collections.abc import Iterable
from posixpath import basename

from actions_cache.domain.archive import Part
from actions_cache.domain.errors import InvalidRequest
from actions_cache.domain.layout import ArchiveKeys

APPENDED_DIGEST = "appended"
"""Stands for the digest of a block list, where there is none."""


def assemble_appended(keys: ArchiveKeys, arrivals: Iterable[Part]) -> tuple[Part, ...]:
    """The pieces in their order.

    A piece without an offset begins a run: it follows all that arrived before. In a run the offsets order the pieces,
    whenever they arrived, and a piece that is sent again replaces the first. They count from the run's beginning or,
    as a client that keeps count itself names them, from the blob's.

    Without offsets, two pieces that came through servers of the edge whose clocks differ by more than the first one
    took would change places; a client sends the next one only once it has the answer, and they are megabytes long.

    Raises:
        InvalidRequest: offsets that leave a gap or overlap, or one that was given to pieces of two sizes.
    """
    runs: list[dict[int, Part]] = [{}]
    for part in sorted(arrivals, key=lambda arrival: basename(arrival.key)):
        offset = keys.offset_of_appended(part.key)
        if offset is None:
            runs.append({0: part})
        elif runs[-1].setdefault(offset, part).size == part.size:
            runs[-1][offset] = part
        else:
            raise InvalidRequest(f"pieces of two sizes were appended at {offset}; create the append blob anew")
    return _following_each_other(runs)


def _following_each_other(runs: Iterable[dict[int, Part]]) -> tuple[Part, ...]:
    parts: list[Part] = []
    end = 0
    for run in runs:
        start = end
        for offset, part in sorted(run.items()):
            if offset not in (end - start, end):
                raise InvalidRequest(f"a piece was appended at {offset}, but {end} bytes come before it")
            parts.append(part)
            end += part.size
    return tuple(parts)
