"""ETags as checksums: what ties the merged object to the bytes that clients sent (docs/decisions/0008-checksums.md).

In a bucket under SSE-S3 the ETag of what one PUT wrote is the MD5 of its bytes; so is that of an UploadPart and an
UploadPartCopy. Where a store makes other ETags (SeaweedFS does for copies of more than 4 MiB), they say nothing.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence

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


def contradict(one: str, other: str) -> bool:
    """Whether both are the MD5s of bytes, and of different ones."""
    digests = _md5(one), _md5(other)
    return None not in digests and digests[0] != digests[1]


def _md5(etag: str) -> bytes | None:
    match = _MD5.fullmatch(etag)
    return bytes.fromhex(match[1]) if match else None
