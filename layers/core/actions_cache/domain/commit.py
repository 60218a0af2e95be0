"""From what arrived in the bucket to what an upload was committed as."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from posixpath import basename, dirname

from actions_cache.domain.appending import APPENDED_DIGEST, assemble_appended
from actions_cache.domain.archive import Part
from actions_cache.domain.errors import InvalidBlockList, TooLarge
from actions_cache.domain.layout import ArchiveKeys

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
