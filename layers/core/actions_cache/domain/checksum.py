"""ETags as checksums: what ties the merged object to the bytes that clients sent (docs/decisions/0008-checksums.md).

In a bucket under SSE-S3 the ETag of what one PUT wrote is the MD5 of its bytes; so is that of an UploadPart and an
UploadPartCopy. Where a store makes other ETags (SeaweedFS does for copies of more than 4 MiB), they say nothing.
"""

import hashlib
import re
import sys
from collections.abc import Iterable, Sequence

from actions_cache.domain.archive import Part
from actions_cache.domain.ranges import PartRange

_MD5 = re.compile(r'"?([0-9a-f]{32})"?')


def etag_of(body: Iterable[bytes]) -> str:
    """The ETag that a PUT of these bytes, one chunk after the other, gets."""
    md5 = hashlib.md5(usedforsecurity=False)
    for chunk in body:
        md5.update(chunk)
    return f'"{md5.hexdigest()}"'


def etag_of_upload(part_etags: Sequence[str]) -> str | None:
    """The ETag of a completed multipart upload: the MD5 of its parts' MD5s, and their number.

    None when one of the parts' ETags is no MD5.
    """
    digests = [digest for digest in map(_md5, part_etags) if digest is not None]
    if len(digests) < len(part_etags):
        return None
    md5 = hashlib.md5(b"".join(digests), usedforsecurity=False)
    return f'"{md5.hexdigest()}-{len(digests)}"'


def etags_conflict(one: str, other: str) -> bool:
    """Return whether both are the MD5s of bytes, and of different ones."""
    digests = _md5(one), _md5(other)
    return None not in digests and digests[0] != digests[1]


class StreamVerifier:
    """Holds bytes that pass in order, in chunks of any length, against the ETags of the parts that they are."""

    def __init__(self, ranges: Iterable[PartRange]) -> None:
        """Args: ranges: what will pass. A part that isn't whole among them can't be checked."""
        self._ranges = iter(ranges)
        self._left = 0
        self._start_next()

    def feed(self, chunk: bytes | memoryview) -> Part | None:
        """The part that ends in this chunk and isn't what its ETag stands for; None where all is well so far."""
        rest = memoryview(chunk)
        while rest:
            if not self._left:
                self._start_next()
            piece, rest = rest[: self._left], rest[self._left :]
            self._left -= len(piece)
            if self._checked:
                self._md5.update(piece)
                if not self._left and etags_conflict(self._part.etag, self._md5.hexdigest()):
                    return self._part
        return None

    def _start_next(self) -> None:
        """What comes after the announced ranges is nobody's, and so isn't checked."""
        following = next(self._ranges, None)
        if following is None:
            self._left, self._checked = sys.maxsize, False
            return
        self._part, self._left = following.part, following.size
        self._checked = following.is_whole and _md5(following.part.etag) is not None
        self._md5 = hashlib.md5(usedforsecurity=False)


def _md5(etag: str) -> bytes | None:
    match = _MD5.fullmatch(etag)
    return bytes.fromhex(match[1]) if match else None
