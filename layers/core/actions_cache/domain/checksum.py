"""ETags as checksums tie merged objects to the bytes that clients sent (docs/design/decisions/0008-checksums.md).

In a bucket with SSE-S3, the ETag of a PUT, an UploadPart or an UploadPartCopy is the MD5 of its bytes. Where a store
makes other ETags (SeaweedFS does for copies of more than 4 MiB), nothing can be checked by them.
"""

import hashlib
import re
import sys
from collections.abc import Iterable, Sequence

from actions_cache.domain.archive import Part
from actions_cache.domain.ranges import PartRange

_MD5 = re.compile(r'"?([0-9a-f]{32})"?')


def etag_of(body: Iterable[bytes]) -> str:
    """Return the ETag of a PUT of these chunks, one after the other."""
    md5 = hashlib.md5(usedforsecurity=False)
    for chunk in body:
        md5.update(chunk)
    return f'"{md5.hexdigest()}"'


def etag_of_upload(part_etags: Sequence[str]) -> str | None:
    """Return the ETag of a completed multipart upload: the MD5 of its parts' MD5s, and their number.

    The result is None if the ETag of one of the parts is no MD5.
    """
    digests = [digest for digest in map(_md5, part_etags) if digest is not None]
    if len(digests) < len(part_etags):
        return None
    md5 = hashlib.md5(b"".join(digests), usedforsecurity=False)
    return f'"{md5.hexdigest()}-{len(digests)}"'


def etags_conflict(one: str, other: str) -> bool:
    """Return whether both ETags are MD5s, and different ones."""
    digests = _md5(one), _md5(other)
    return None not in digests and digests[0] != digests[1]


class StreamVerifier:
    """Compares a stream of parts, in chunks of any length, with the ETags of these parts."""

    def __init__(self, ranges: Iterable[PartRange]) -> None:
        """Prepare for a stream.

        Args:
            ranges: The ranges that the stream consists of. Only whole parts can be checked.
        """
        self._ranges = iter(ranges)
        self._left = 0
        self._start_next()

    def feed(self, chunk: bytes | memoryview) -> Part | None:
        """Take the next chunk and return the part that ends in it with a wrong ETag; None if there is none."""
        rest = memoryview(chunk)
        while rest:
            if not self._left:
                self._start_next()
            of_part, rest = rest[: self._left], rest[self._left :]
            self._left -= len(of_part)
            if self._checked:
                self._md5.update(of_part)
                if not self._left and etags_conflict(self._part.etag, self._md5.hexdigest()):
                    return self._part
        return None

    def _start_next(self) -> None:
        """Start the next range. Bytes after the last one belong to no part and aren't checked."""
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
