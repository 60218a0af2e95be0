"""Uploads of the v1 API: pieces that say where they belong, in any order (docs/design/protocol.md#v1-api)."""

import re
from collections.abc import Iterable
from posixpath import basename

from actions_cache.domain.archive import Archive, ArchiveState, Part
from actions_cache.domain.byte_range import ByteRange
from actions_cache.domain.commit import MAX_BLOCKS, MAX_PART_BYTES
from actions_cache.domain.errors import InvalidRequest, NotFound, TooLarge
from actions_cache.domain.layout import ArchiveKeys
from actions_cache.domain.timing import Millis

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/(?:\*|([0-9]{1,15}))")


def parse_content_range(header: str | None) -> ByteRange:
    """Where a piece belongs.

    Raises:
        InvalidRequest: it isn't `bytes FIRST-LAST/*`, or ends behind the size that it names.
        TooLarge: no object may have so many bytes.
    """
    found = _CONTENT_RANGE.fullmatch(header or "")
    if found is None or int(found[2]) < int(found[1]) or (found[3] and int(found[3]) <= int(found[2])):
        raise InvalidRequest("Content-Range must say where the piece belongs: bytes FIRST-LAST/*")
    place = ByteRange(int(found[1]), int(found[2]) + 1)
    if place.size > MAX_PART_BYTES:
        raise TooLarge(f"the piece has {place.size} bytes; one may have {MAX_PART_BYTES}")
    return place


def check_takes_pieces(archive: Archive, now: Millis) -> None:
    """As a signed URL's expiry does for v2: after the last sweep for late arrivals nobody would delete a piece.

    Raises:
        NotFound: the upload is over: its time has passed, or it was removed.
        InvalidRequest: it was committed, so that the piece would never be in it.
    """
    if archive.state is ArchiveState.DELETED or archive.upload_closes_at <= now:
        raise NotFound("this upload is over: its time has passed, or its entry was removed; reserve the key anew")
    if archive.commit is not None:
        raise InvalidRequest("this upload was committed, and takes no more pieces")


def pieces_digest(size: int) -> str:
    """Stands for the digest of a block list, where there is none: a repeated commit is known by its size."""
    return f"pieces of {size}"


def assemble_pieces(keys: ArchiveKeys, size: int, arrivals: Iterable[Part]) -> tuple[Part, ...]:
    """The pieces in the order of their bytes; of one that was sent again, what arrived last.

    Raises:
        InvalidRequest: they aren't exactly `size` bytes without a gap: one is missing, or two overlap.
        TooLarge: more of them than a block list may name.
    """
    newest: dict[tuple[int, int], Part] = {}
    for part in arrivals:
        place = keys.place_of_piece(part.key)
        if place not in newest or basename(newest[place].key) < basename(part.key):
            newest[place] = part
    if len(newest) > MAX_BLOCKS:
        raise TooLarge(f"{len(newest)} pieces arrived; at most {MAX_BLOCKS} are allowed")
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
