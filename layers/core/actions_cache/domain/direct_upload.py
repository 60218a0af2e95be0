"""Direct uploads: a client puts blocks past the edge, into a multipart upload of the archive's own object.

Completing it makes that object, so the archive needs no merge. docs/design/direct-uploads.md is the protocol.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from actions_cache.domain.archive import Archive, Part
from actions_cache.domain.checksum import etag_of_upload
from actions_cache.domain.errors import InvalidBlockList
from actions_cache.domain.merge_plan import MIN_UPLOAD_PART_BYTES
from actions_cache.domain.object_keys import is_direct_key

MAX_DIRECT_PARTS = 256
"""Parts for which URLs are given. More: longer answers, of 67 bytes a part. Fewer: less than the 10 GiB that
@actions/cache saves at most, in blocks of 64 MiB, fits."""

_COUNTED_ID = re.compile(rb"([\x21-\x7e]{36})([0-9]{12})")
"""A block id of Azure's SDK for JavaScript before base64: a UUID, which all blocks of one upload share, and the index.
generateBlockID in https://github.com/Azure/azure-sdk-for-js/blob/main/sdk/storage/storage-blob/src/utils/utils.common.ts.
"""


def went_direct(archive: Archive) -> bool:
    """Return whether an archive's blocks went straight into S3. A whole PUT can't be told from one by the edge."""
    return archive.object is not None and is_direct_key(archive.object.key)


@dataclass(frozen=True, slots=True)
class SentPart:
    """A part that arrived in a multipart upload. One that is sent again replaces the earlier one."""

    number: int
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class DirectUrls:
    """The presigned URLs of one direct upload. The repr, and so the log, shows none of them."""

    look: str = field(repr=False)
    """Lists the upload's parts, by which a client tries whether S3 is within its reach, and takes its address."""
    blob: str = field(repr=False)
    """Takes an archive that comes in one PUT."""
    blob_headers: tuple[tuple[str, str], ...]
    """Headers that this PUT must have, since they are signed."""
    part: str = field(repr=False)
    """Takes a part, once its number and signature are added."""
    signatures: tuple[str, ...] = field(repr=False)
    """Signatures of the parts 1, 2, … Each opens one part."""


def assemble_direct(
    key: str, block_ids: Sequence[str], sent: Sequence[SentPart]
) -> tuple[tuple[SentPart, ...], Part | None]:
    """Return the parts that a block list names, and the object that they make.

    The object is None if the store's ETags aren't MD5s, so that the object's ETag doesn't follow from them.

    Args:
        key: the object's key.
        block_ids: the block list.
        sent: the parts that arrived, in any order.

    Raises:
        InvalidBlockList: the list isn't that of a direct upload, or a block never arrived this way or is too small.
    """
    by_number = {part.number: part for part in sent}
    first = _counted(block_ids[0]) if block_ids else None
    parts = []
    for index, block_id in enumerate(block_ids):
        if first is None or _counted(block_id) != (first[0], index):
            raise InvalidBlockList(
                f"blocks of this upload went straight into the bucket, where the list's block {block_id[:100]!r} can't "
                f"be number {index + 1}; send all blocks of an archive one way, and list them in order"
            )
        part = by_number.get(index + 1)
        if part is None:
            raise InvalidBlockList(
                f"the block list names {block_id!r}, but this block didn't go straight into the bucket as others of "
                "this upload did; send all blocks of an archive one way"
            )
        parts.append(part)
    if not parts:
        raise InvalidBlockList("the block list is empty, but blocks of this upload went straight into the bucket")
    for part in parts[:-1]:
        if part.size < MIN_UPLOAD_PART_BYTES:
            raise InvalidBlockList(
                f"block {part.number} has {part.size} bytes; straight into the bucket, all blocks but the last need "
                f"{MIN_UPLOAD_PART_BYTES}"
            )
    etag = etag_of_upload([part.etag for part in parts])
    return tuple(parts), Part(key, sum(part.size for part in parts), etag) if etag else None


def _counted(block_id: str) -> tuple[bytes, int] | None:
    """Return what the blocks of one upload share, and the block's index; None for ids of another form."""
    try:
        found = _COUNTED_ID.fullmatch(base64.b64decode(block_id, validate=True))
    except (binascii.Error, ValueError):
        return None
    return (found[1], int(found[2])) if found else None
