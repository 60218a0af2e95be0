"""From what arrived in the bucket to what an upload was committed as."""

import hashlib
from collections.abc import Iterable, Sequence
from posixpath import basename, dirname

from actions_cache.domain.archive import Part
from actions_cache.domain.errors import UnknownBlock
from actions_cache.domain.layout import ArchiveKeys

MAX_BLOCKS = 50_000
"""Azure's limit for one blob."""


def block_list_digest(block_ids: Sequence[str]) -> str:
    """Tells a repeated block list from another one. Ids are base64, so no id holds the separator."""
    return hashlib.sha256("\n".join(block_ids).encode()).hexdigest()


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
    """The parts in the order of the block list, which alone orders them.

    Raises:
        UnknownBlock: the list names a block that never arrived.
        InvalidRequest: an id isn't base64.
    """
    newest = newest_arrivals(arrivals)
    parts = []
    for block_id in block_ids:
        part = newest.get(keys.block_prefix(block_id))
        if part is None:
            raise UnknownBlock(f"the block list names {block_id!r}, but no block with this id was uploaded")
        parts.append(part)
    return tuple(parts)
