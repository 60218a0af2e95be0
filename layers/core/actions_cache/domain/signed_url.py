"""Signatures of our URLs: each is good for one archive or object, one direction, and a while.

The values are signed, never the query string: clients re-sort and re-encode it (docs/design/protocol.md#upload-urls).
The message is what the CDN edge can rebuild from the path and the query alone; functions/edge/viewer_request.js does.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from enum import StrEnum

from actions_cache.domain.errors import PermissionDenied
from actions_cache.domain.timing import SECOND, Millis

EXPIRES, SIGNATURE = "se", "sig"
"""Azure's own names: @actions/cache masks `sig` in job logs, and Azure's SDK drops query names it doesn't know."""


class Direction(StrEnum):
    """What a URL is good for, and the segment of its path that says so. Its subject stands after it."""

    UPLOAD = "upload"
    """Into an archive; the subject is its id."""
    DOWNLOAD = "download"
    """Of an archive, from us; the subject is its id."""
    OBJECT = "object"
    """Of one object, from the bucket through the edge; the subject is layout.object_subject's."""


def signed_path(direction: Direction, subject: str, expires_at: Millis, secret: str) -> str:
    expires = str(expires_at // SECOND)
    signature = _sign(direction, subject, expires, secret)
    return f"/blobs/{direction}/{subject}?{EXPIRES}={expires}&{SIGNATURE}={signature}"


def check_signature(
    direction: Direction, subject: str, expires: str, signature: str, now: Millis, secrets: Sequence[str]
) -> None:
    """Any of the secrets may have signed it, so that they can be rotated.

    Raises:
        PermissionDenied: altered, signed for something else, or expired.
    """
    good = [_sign(direction, subject, expires, secret) for secret in secrets]
    if not any(hmac.compare_digest(signature.encode(), one.encode()) for one in good):
        raise PermissionDenied(
            f"the signature of this {direction} URL doesn't fit; ask the cache service for a new one"
        )
    if int(expires) * SECOND <= now:
        raise PermissionDenied(f"this {direction} URL has expired; ask the cache service for a new one")


def _sign(direction: Direction, subject: str, expires: str, secret: str) -> str:
    message = f"{direction}\n{subject}\n{expires}"
    digest = hmac.new(secret.encode(), message.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
