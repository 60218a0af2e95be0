"""The keys of the objects in the bucket, which are made only here.

    archives/<archive id>/
        parts/blocks/<block id>/<arrival>   a block; each arrival gets a key of its own, which is written once
        parts/blob/<arrival>                a Put Blob
        parts/direct/<token>                the object of a direct upload, which has all bytes
        parts/append/new/<arrival>          the start of a new append blob
        parts/append/<offset>/<arrival>     an Append Block, at the offset that its client named, or at `next`
        parts/pieces/<range>/<arrival>      a chunk of the v1 API, at its range: first byte and end
        manifest/<token>                    the ordered list of parts
        merged/<run token>                  the object that one run of the merge wrote

A block id is base64 in an alphabet that needs no quoting in keys and URLs. An arrival consists of its time
(milliseconds in 13 digits, so that arrivals sort) and the id of the request that brought it.
"""

import base64
import binascii
import re
from dataclasses import dataclass

from actions_cache.domain.errors import InvalidRequest
from actions_cache.domain.ranges import ByteRange
from actions_cache.domain.timing import Millis

MAX_BLOCK_ID_BYTES = 64
"""Most bytes of a block id before base64: Azure's limit, which BuildKit uses up (docs/design/protocol.md#uploads)."""

ROOT = "archives/"
"""Beginning of every key. The bucket may hold other things beside it, which cleanup leaves alone."""

_NEXT = "next"

_BASE64_TO_KEY = str.maketrans("+/", "-_", "=")
_KEY_TO_BASE64 = str.maketrans("-_", "+/")


@dataclass(frozen=True, slots=True)
class ArchiveKeys:
    """The keys of one archive."""

    archive_id: str

    @property
    def prefix(self) -> str:
        return f"{ROOT}{self.archive_id}/"

    @property
    def parts_prefix(self) -> str:
        return f"{self.prefix}parts/"

    @property
    def blocks_prefix(self) -> str:
        return f"{self.prefix}parts/blocks/"

    @property
    def blob_prefix(self) -> str:
        return f"{self.prefix}parts/blob/"

    def direct(self, token: str) -> str:
        return f"{self.prefix}parts/direct/{token}"

    @property
    def append_prefix(self) -> str:
        return f"{self.prefix}parts/append/"

    @property
    def new_append_prefix(self) -> str:
        return f"{self.append_prefix}new/"

    @property
    def chunks_prefix(self) -> str:
        return f"{self.prefix}parts/pieces/"

    def block(self, block_id: str, arrived_at: Millis, request_id: str) -> str:
        return f"{self.blocks_prefix}{_encode(block_id)}/{arrived_at:013d}-{request_id}"

    def blob(self, arrived_at: Millis, request_id: str) -> str:
        return f"{self.blob_prefix}{arrived_at:013d}-{request_id}"

    def new_append(self, arrived_at: Millis, request_id: str) -> str:
        return f"{self.new_append_prefix}{arrived_at:013d}-{request_id}"

    def appended(self, offset: str | None, arrived_at: Millis, request_id: str) -> str:
        """Return the key of an appended block.

        Args:
            offset: The offset that the client named; anything but a number of at most 15 digits counts as none.
            arrived_at: The time of the request.
            request_id: The id of the request.
        """
        is_number = offset is not None and re.fullmatch("[0-9]{1,15}", offset) is not None
        folder = f"{int(offset or 0):015d}" if is_number else _NEXT
        return f"{self.append_prefix}{folder}/{arrived_at:013d}-{request_id}"

    def offset_of_appended(self, key: str) -> int | None:
        """Return the offset at which a block was appended; None if its client named none."""
        folder = key.removeprefix(self.append_prefix).partition("/")[0]
        return None if folder == _NEXT else int(folder)

    def chunk(self, byte_range: ByteRange, arrived_at: Millis, request_id: str) -> str:
        return f"{self.chunks_prefix}{byte_range.start:015d}-{byte_range.end:015d}/{arrived_at:013d}-{request_id}"

    def place_of_chunk(self, key: str) -> tuple[int, int]:
        """Return the start and the end of a chunk's range."""
        start, _, end = key.removeprefix(self.chunks_prefix).partition("/")[0].partition("-")
        return int(start), int(end)

    def manifest(self, token: str) -> str:
        return f"{self.prefix}manifest/{token}"

    @property
    def merged_prefix(self) -> str:
        return f"{self.prefix}merged/"

    def merged(self, run_token: str) -> str:
        return f"{self.merged_prefix}{run_token}"

    def block_prefix(self, block_id: str) -> str:
        """Return the prefix of the keys of all arrivals of one block."""
        return f"{self.blocks_prefix}{_encode(block_id)}/"

    def block_id(self, key: str) -> str | None:
        """Return the id of the block that arrived under the key; None if the key isn't a block's."""
        if not key.startswith(self.blocks_prefix):
            return None
        encoded = key.removeprefix(self.blocks_prefix).partition("/")[0].translate(_KEY_TO_BASE64)
        return encoded + "=" * (-len(encoded) % 4)


def archive_of_key(key: str) -> str:
    """Return the id of the archive that an object of this key belongs to."""
    return key.removeprefix(ROOT).partition("/")[0]


def is_part_key(key: str) -> bool:
    """Return whether an object's bytes came from a client."""
    return key.removeprefix(ROOT).partition("/")[2].startswith("parts/")


def is_direct_key(key: str) -> bool:
    """Return whether an object was made by a direct upload, of blocks that went straight into S3."""
    return key.removeprefix(ROOT).partition("/")[2].startswith("parts/direct/")


def archive_prefix_after(archive_id: str) -> str:
    """Return a key that sorts after all keys of this archive and before those of the next; the root for ""."""
    return f"{ROOT}{archive_id}0" if archive_id else ROOT


def archive_of_prefix(prefix: str) -> str:
    """Return the id of the archive whose objects have this prefix."""
    return prefix.removeprefix(ROOT).removesuffix("/")


def object_subject(key: str, size: int) -> str:
    """Return the subject of an object's URL at the edge: its size and its key below the root.

    The edge needs the size to answer a range beyond the end by itself.
    """
    return f"{size}/{key.removeprefix(ROOT)}"


def _encode(block_id: str) -> str:
    check_block_id(block_id)
    return block_id.translate(_BASE64_TO_KEY)


def check_block_id(block_id: str) -> None:
    """Check a block id.

    Raises:
        InvalidRequest: it isn't base64 of 1 to 64 bytes.
    """
    try:
        decoded = base64.b64decode(block_id, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(f"the block id {block_id[:100]!r} isn't base64") from None
    if len(block_id) % 4:
        raise InvalidRequest(f"the block id {block_id[:100]!r} isn't base64")
    if not 1 <= len(decoded) <= MAX_BLOCK_ID_BYTES:
        raise InvalidRequest(
            f"the block id {block_id[:100]!r} stands for {len(decoded)} bytes; 1 to {MAX_BLOCK_ID_BYTES} are allowed"
        )
