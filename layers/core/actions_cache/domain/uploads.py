"""From what arrived in the bucket to what an upload was committed as."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from posixpath import basename, dirname

from actions_cache.domain.archive import Archive, ArchiveState, Part
from actions_cache.domain.errors import InvalidBlockList, InvalidRequest, NotFound, TooLarge
from actions_cache.domain.object_keys import ArchiveKeys
from actions_cache.domain.ranges import ByteRange
from actions_cache.domain.timing import Millis

MAX_BLOCKS = 50_000
"""Azure's limit for one blob."""

MAX_ARRIVALS = 2 * MAX_BLOCKS
"""Most objects that one upload may have: each block may be sent twice. S3 lists 1,000 in some 150 ms, and API Gateway
gives up at 29 s."""

MAX_PART_BYTES = 5 * 1024**3
"""S3's cap on one PUT."""


def block_list_digest(block_ids: Sequence[str]) -> str:
    """Tells a repeated block list from another one. Ids are base64, so no id holds the separator."""
    return hashlib.sha256("\n".join(block_ids).encode()).hexdigest()


def check_names_each_once(block_ids: Sequence[str]) -> None:
    """Check that no id is named twice: a small upload could otherwise become an entry of any size.

    Raises:
        InvalidBlockList: an id is named twice.
    """
    seen: set[str] = set()
    for block_id in block_ids:
        if block_id in seen:
            raise InvalidBlockList(
                f"the block list names {block_id[:100]!r} twice; send each block under an id of its own"
            )
        seen.add(block_id)


BLOB_DIGEST = "blob"
"""Stands for the digest where a Put Blob is committed, which has no block list."""


def newest_arrivals(arrivals: Iterable[Part]) -> dict[str, Part]:
    """The newest arrival under each folder of the bucket: a block sent again replaces the earlier one."""
    newest: dict[str, Part] = {}
    for part in arrivals:
        folder = dirname(part.key) + "/"
        if folder not in newest or basename(newest[folder].key) < basename(part.key):
            newest[folder] = part
    return newest


def assemble(keys: ArchiveKeys, block_ids: Sequence[str], arrivals: Iterable[Part]) -> tuple[Part, ...]:
    """Return the parts in the order of the block list, which alone orders them.

    Raises:
        InvalidBlockList: the list names a block that never arrived.
        InvalidRequest: an id isn't base64.
    """
    newest = newest_arrivals(arrivals)
    parts = []
    for block_id in block_ids:
        part = newest.get(keys.block_prefix(block_id))
        if part is None:
            raise InvalidBlockList(f"the block list names {block_id!r}, but no block with this id was uploaded")
        parts.append(part)
    return tuple(parts)


@dataclass(frozen=True, slots=True)
class WholeBlob:
    """What an upload holds without a block list."""

    digest: str
    parts: tuple[Part, ...]

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)


def whole_blob(keys: ArchiveKeys, arrivals: Iterable[Part]) -> WholeBlob | None:
    """The newest Put Blob, or the append blob begun since, with what was appended to it; None where neither came.

    Either replaces what was there, as at Azure. An append to anything else Azure refuses, which the edge can't: after a
    Put Blob it doesn't count, and where nothing came before it, it begins the append blob.

    Raises:
        InvalidRequest: what was appended doesn't fit together.
        TooLarge: it came in more pieces than Azure allows.
    """
    blob, begun = None, None
    appended: list[Part] = []
    for part in arrivals:
        if part.key.startswith(keys.blob_prefix):
            blob = max(blob or part, part, key=_arrival)
        elif part.key.startswith(keys.new_append_prefix):
            begun = max(begun or part, part, key=_arrival)
        elif part.key.startswith(keys.append_prefix):
            appended.append(part)
    begun_at = _arrival(begun) if begun else ""
    if blob is not None and _arrival(blob) > begun_at:
        return WholeBlob(BLOB_DIGEST, (blob,))
    appended = [part for part in appended if _arrival(part) > begun_at]
    if begun is None and not appended:
        return None
    if len(appended) > MAX_BLOCKS:
        raise TooLarge(f"{len(appended)} pieces were appended; at most {MAX_BLOCKS} are allowed")
    return WholeBlob(APPENDED_DIGEST, assemble_appended(keys, appended))


def _arrival(part: Part) -> str:
    return basename(part.key)


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


def check_takes_chunks(archive: Archive, now: Millis) -> None:
    """As a signed URL's expiry does for v2: after the last sweep for late arrivals nobody would delete a piece.

    Raises:
        NotFound: the upload is over: its time has passed, or it was removed.
        InvalidRequest: it was committed, so that the piece would never be in it.
    """
    if archive.state is ArchiveState.DELETED or archive.upload_closes_at <= now:
        raise NotFound("this upload is over: its time has passed, or its entry was removed; reserve the key anew")
    if archive.commit is not None:
        raise InvalidRequest("this upload was committed, and takes no more pieces")


def chunks_digest(size: int) -> str:
    """Stands for the digest of a block list, where there is none: a repeated commit is known by its size."""
    return f"pieces of {size}"


def assemble_chunks(keys: ArchiveKeys, size: int, arrivals: Iterable[Part]) -> tuple[Part, ...]:
    """The pieces in the order of their bytes; of one that was sent again, what arrived last.

    Raises:
        InvalidRequest: they aren't exactly `size` bytes without a gap: one is missing, or two overlap.
        TooLarge: more of them than a block list may name.
    """
    newest: dict[tuple[int, int], Part] = {}
    for part in arrivals:
        place = keys.place_of_chunk(part.key)
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
