"""The content that an upload is committed with, given what arrived in the bucket."""

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
"""Most blocks, or chunks, of one upload: Azure's limit for a blob."""

MAX_ARRIVALS = 2 * MAX_BLOCKS
"""Most objects of one upload, so that each block may be sent twice. More: a commit might not list them before API
Gateway gives up at 29 s, since S3 lists 1,000 in some 150 ms. Fewer: an upload with many retries is closed."""

MAX_PART_BYTES = 5 * 1024**3
"""Most bytes of one PUT to S3."""

BLOB_DIGEST = "blob"
"""Digest of a committed Put Blob, which has no block list."""

APPENDED_DIGEST = "appended"
"""Digest of a committed append blob, which has no block list."""


# ---------------------------------------------------------------- block lists


def assemble(keys: ArchiveKeys, block_ids: Sequence[str], arrivals: Iterable[Part]) -> tuple[Part, ...]:
    """Return the parts in the order of the block list, which alone determines it.

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


def newest_arrivals(arrivals: Iterable[Part]) -> dict[str, Part]:
    """Return the newest arrival in each folder of the bucket: a block that is sent again replaces the earlier one."""
    newest: dict[str, Part] = {}
    for part in arrivals:
        folder = dirname(part.key) + "/"
        if folder not in newest or _arrival(newest[folder]) < _arrival(part):
            newest[folder] = part
    return newest


def _arrival(part: Part) -> str:
    return basename(part.key)


def block_list_digest(block_ids: Sequence[str]) -> str:
    """Return a digest that tells a repeated block list from a different one."""
    # Ids are base64, so none contains the separator.
    return hashlib.sha256("\n".join(block_ids).encode()).hexdigest()


def check_names_each_once(block_ids: Sequence[str]) -> None:
    """Check that no id is named twice: otherwise a small upload could become an entry of any size.

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


# ---------------------------------------------------------------- blobs without a block list


@dataclass(frozen=True, slots=True)
class WholeBlob:
    """The content of an upload that has no block list."""

    digest: str
    parts: tuple[Part, ...]

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)


def whole_blob(keys: ArchiveKeys, arrivals: Iterable[Part]) -> WholeBlob | None:
    """Return the newest Put Blob or append blob, whichever was started last; None if neither arrived.

    Starting either replaces what was there before, as in Azure. Azure refuses appends to anything but an append blob.
    The edge can't do that, so an append after a Put Blob is ignored, and one without a start begins an append blob.

    Raises:
        InvalidRequest: the appended blocks don't fit together.
        TooLarge: there are more appended blocks than Azure allows.
    """
    blob, new_append = None, None
    appended: list[Part] = []
    for part in arrivals:
        if part.key.startswith(keys.blob_prefix):
            blob = max(blob or part, part, key=_arrival)
        elif part.key.startswith(keys.new_append_prefix):
            new_append = max(new_append or part, part, key=_arrival)
        elif part.key.startswith(keys.append_prefix):
            appended.append(part)
    started_at = _arrival(new_append) if new_append else ""
    if blob is not None and _arrival(blob) > started_at:
        return WholeBlob(BLOB_DIGEST, (blob,))
    appended = [part for part in appended if _arrival(part) > started_at]
    if new_append is None and not appended:
        return None
    if len(appended) > MAX_BLOCKS:
        raise TooLarge(f"{len(appended)} pieces were appended; at most {MAX_BLOCKS} are allowed")
    return WholeBlob(APPENDED_DIGEST, assemble_appended(keys, appended))


def assemble_appended(keys: ArchiveKeys, arrivals: Iterable[Part]) -> tuple[Part, ...]:
    """Return the appended blocks in order.

    A block without an offset starts a series, which follows all that arrived before. Within a series, offsets order the
    blocks regardless of their arrival, and a block that is sent again replaces the first one. Offsets count from the
    start of the series or, for clients that keep count themselves, from the start of the blob.

    Two blocks without offsets would change places if they came through edge servers whose clocks differ by more than
    the upload of the first one took. That is unlikely: a client sends the next block only after the response to the
    first, and blocks are megabytes long.

    Raises:
        InvalidRequest: offsets leave a gap or overlap, or blocks of two sizes have the same offset.
    """
    series: list[dict[int, Part]] = [{}]
    for part in sorted(arrivals, key=_arrival):
        offset = keys.offset_of_appended(part.key)
        if offset is None:
            series.append({0: part})
        elif series[-1].setdefault(offset, part).size == part.size:
            series[-1][offset] = part
        else:
            raise InvalidRequest(f"pieces of two sizes were appended at {offset}; create the append blob anew")
    return _joined(series)


def _joined(series: Iterable[dict[int, Part]]) -> tuple[Part, ...]:
    parts: list[Part] = []
    end = 0
    for by_offset in series:
        start = end
        for offset, part in sorted(by_offset.items()):
            if offset not in (end - start, end):
                raise InvalidRequest(f"a piece was appended at {offset}, but {end} bytes come before it")
            parts.append(part)
            end += part.size
    return tuple(parts)


# ---------------------------------------------------------------- chunks of the v1 API

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/(?:\*|([0-9]{1,15}))")


def parse_content_range(header: str | None) -> ByteRange:
    """Return the range of a chunk.

    Raises:
        InvalidRequest: the header isn't `bytes FIRST-LAST/*`, or the range ends after the size that it names.
        TooLarge: the chunk is larger than an object may be.
    """
    found = _CONTENT_RANGE.fullmatch(header or "")
    if found is None or int(found[2]) < int(found[1]) or (found[3] and int(found[3]) <= int(found[2])):
        raise InvalidRequest("Content-Range must say where the piece belongs: bytes FIRST-LAST/*")
    byte_range = ByteRange(int(found[1]), int(found[2]) + 1)
    if byte_range.size > MAX_PART_BYTES:
        raise TooLarge(f"the piece has {byte_range.size} bytes; one may have {MAX_PART_BYTES}")
    return byte_range


def check_takes_chunks(archive: Archive, now: Millis) -> None:
    """Check that the upload still takes chunks.

    For v2, the expiry of signed URLs does the same: no sweep would delete what arrives after the last one.

    Raises:
        NotFound: the upload's time has passed, or it was removed.
        InvalidRequest: the upload was committed, so that the chunk would never be in it.
    """
    if archive.state is ArchiveState.DELETED or archive.upload_closes_at <= now:
        raise NotFound("this upload is over: its time has passed, or its entry was removed; reserve the key anew")
    if archive.commit is not None:
        raise InvalidRequest("this upload was committed, and takes no more pieces")


def chunks_digest(size: int) -> str:
    """Return the digest of committed chunks, which have no block list: a repeated commit is recognized by its size."""
    return f"pieces of {size}"


def assemble_chunks(keys: ArchiveKeys, size: int, arrivals: Iterable[Part]) -> tuple[Part, ...]:
    """Return the chunks in the order of their bytes. A chunk that is sent again replaces the earlier one.

    Raises:
        InvalidRequest: the chunks aren't exactly `size` bytes: one is missing, or two overlap.
        TooLarge: there are more chunks than a block list may name.
    """
    newest = {keys.place_of_chunk(part.key): part for part in newest_arrivals(arrivals).values()}
    if len(newest) > MAX_BLOCKS:
        raise TooLarge(f"{len(newest)} pieces arrived; at most {MAX_BLOCKS} are allowed")
    end = 0
    for start, chunk_end in sorted(newest):
        if start > end:
            raise InvalidRequest(f"the bytes from {end} to {start - 1} never arrived")
        if start < end:
            raise InvalidRequest(f"two pieces bring the byte {start}; send a piece again as it was, or reserve anew")
        end = chunk_end
    if end != size:
        raise InvalidRequest(f"the size is {size}, but {end} bytes arrived")
    return tuple(newest[place] for place in sorted(newest))
