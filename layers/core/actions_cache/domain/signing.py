"""Signatures of our URLs: each is good for one archive or object, one direction, and a while.

The values are signed, never the query string: clients re-sort and re-encode it (docs/design/protocol.md#upload-urls).
The message is what the CDN edge can rebuild from the path and the query alone; functions/edge/viewer_request.js does.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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


SETTLE: Millis = 900 * SECOND
"""Until everybody knows a change, and what races can take off that. Functions believe what they read for 300 s, and for
720 s when it can't be read anew (aws/secrets.py); the edge's KeyValueStore spreads "within a few seconds",
says AWS, and promises nothing; of two runs of the rotation at once, one may undo what the other noted, each within its
function's 60 s. Longer: slower rotations. Shorter than what it takes: URLs that fail."""


class Phase(StrEnum):
    SETTLED = "settled"
    INTRODUCED = "introduced"
    PROMOTED = "promoted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyring:
    """Its secrets stay out of its repr, and so out of logs."""

    current: str = field(repr=False)
    next: str | None = field(default=None, repr=False)
    previous: str | None = field(default=None, repr=False)
    changed_at: Millis | None = None
    """When the edge was first seen to know it as it is; None before that."""

    @property
    def phase(self) -> Phase:
        if self.next is not None:
            return Phase.INTRODUCED
        return Phase.SETTLED if self.previous is None else Phase.PROMOTED

    @property
    def verifying(self) -> tuple[str, ...]:
        """All that verify; the first one signs."""
        return tuple(secret for secret in (self.current, self.next, self.previous) if secret is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationTimes:
    """How long each phase lasts."""

    interval: Millis
    """From one rotation's end to the next one's beginning."""
    url_life: Millis
    """Of the URL that lives longest."""

    def of(self, phase: Phase) -> Millis:
        match phase:
            case Phase.SETTLED:
                return self.interval
            case Phase.INTRODUCED:
                return SETTLE
            case Phase.PROMOTED:
                return self.url_life + SETTLE


@dataclass(frozen=True, slots=True)
class KnownToEdge:
    """The secrets by which the edge verifies URLs, as read from the edge's store."""

    secrets: tuple[str, ...] = field(repr=False)
    """The secrets, the signing one first; empty before the edge is first given any."""
    version: str
    """Version of the edge's store; a write that names another one conflicts."""


def advanced(ring: Keyring, now: Millis, times: RotationTimes, new_secret: str) -> Keyring | None:
    """The ring of the next phase, not yet known to the edge; None until the present one has lasted.

    Args:
        ring: as it stands; the edge knows it.
        now: the moment.
        times: how long a phase lasts.
        new_secret: to introduce, should it come to that.
    """
    if ring.changed_at is None or now < ring.changed_at + times.of(ring.phase):
        return None
    match ring.phase:
        case Phase.SETTLED:
            return replace(ring, next=new_secret, changed_at=None)
        case Phase.INTRODUCED:
            return replace(ring, current=ring.next or ring.current, next=None, previous=ring.current, changed_at=None)
        case Phase.PROMOTED:
            return replace(ring, previous=None, changed_at=None)


def known_to_edge(ring: Keyring, now: Millis) -> Keyring:
    """Its phase lasts from now on."""
    return replace(ring, changed_at=now)


def unknown_to_edge(ring: Keyring) -> Keyring:
    """Its phase doesn't last yet, or no more."""
    return replace(ring, changed_at=None)
