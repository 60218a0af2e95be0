"""Signed URLs, and the rotation of the secrets that sign them.

A URL is valid for one archive or object, in one direction, for a limited time. The values are signed instead of the
query string, because clients re-sort and re-encode it (docs/design/protocol.md#upload-urls). The edge can rebuild the
signed message from the path and the query alone (functions/edge/viewer_request.js).
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
"""Query parameters with Azure's names: @actions/cache masks `sig` in job logs, and Azure's SDK drops names that it
doesn't know."""


class Direction(StrEnum):
    """The use of a signed URL, which is a segment of its path and is followed by the URL's subject."""

    UPLOAD = "upload"
    """An upload into an archive, whose id is the subject."""
    DOWNLOAD = "download"
    """A download of an archive from our function; the archive's id is the subject."""
    OBJECT = "object"
    """A download of one object from the bucket through the edge; object_keys.object_subject makes the subject."""


def signed_path(direction: Direction, subject: str, expires_at: Millis, secret: str) -> str:
    """Return the path and query of a signed URL."""
    expires = str(expires_at // SECOND)
    signature = _sign(direction, subject, expires, secret)
    return f"/blobs/{direction}/{subject}?{EXPIRES}={expires}&{SIGNATURE}={signature}"


def check_signature(
    direction: Direction, subject: str, expires: str, signature: str, now: Millis, secrets: Sequence[str]
) -> None:
    """Check that one of the secrets signed the URL, so that secrets can be rotated, and that it is still valid.

    Raises:
        PermissionDenied: the URL was altered or signed for something else, or has expired.
    """
    valid_signatures = [_sign(direction, subject, expires, secret) for secret in secrets]
    if not any(hmac.compare_digest(signature.encode(), valid.encode()) for valid in valid_signatures):
        raise PermissionDenied(
            f"the signature of this {direction} URL doesn't fit; ask the cache service for a new one"
        )
    if int(expires) * SECOND <= now:
        raise PermissionDenied(f"this {direction} URL has expired; ask the cache service for a new one")


def _sign(direction: Direction, subject: str, expires: str, secret: str) -> str:
    message = f"{direction}\n{subject}\n{expires}"
    digest = hmac.new(secret.encode(), message.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


# ---------------------------------------------------------------- rotation

SETTLE: Millis = 900 * SECOND
"""Time until every function and the edge know a change of the secrets. Functions use what they read for 300 s, and for
720 s if it can't be read again (aws/secrets.py). The edge's KeyValueStore spreads a change "within a few seconds",
according to AWS, without a guarantee. Of two concurrent runs of the rotation, one may undo what the other noted, within
their function's timeout of 60 s. Longer: slower rotations. Shorter: URLs may fail during a rotation."""


class Phase(StrEnum):
    """The phases of a rotation."""

    SETTLED = "settled"
    """There is one secret."""
    INTRODUCED = "introduced"
    """A new secret verifies, but doesn't sign yet."""
    PROMOTED = "promoted"
    """The new secret signs, and the previous one still verifies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyring:
    """The signing secrets and the state of their rotation. Its repr, and so the log, doesn't show the secrets."""

    current: str = field(repr=False)
    next: str | None = field(default=None, repr=False)
    previous: str | None = field(default=None, repr=False)
    changed_at: Millis | None = None
    """Time at which the edge was first known to have the secrets as they are; None before."""

    @property
    def phase(self) -> Phase:
        if self.next is not None:
            return Phase.INTRODUCED
        return Phase.SETTLED if self.previous is None else Phase.PROMOTED

    @property
    def verifying(self) -> tuple[str, ...]:
        """Return all secrets that verify; the first one signs."""
        return tuple(secret for secret in (self.current, self.next, self.previous) if secret is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationTimes:
    """The durations of the phases."""

    interval: Millis
    """Time from the end of one rotation to the start of the next."""
    url_life: Millis
    """Lifetime of the URLs that are valid longest."""

    def of(self, phase: Phase) -> Millis:
        """Return the duration of the phase."""
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
    """Return the keyring of the next phase, which the edge doesn't know yet; None until the current phase is over.

    Args:
        ring: The current keyring.
        now: The current time.
        times: The durations of the phases.
        new_secret: The secret to introduce, if that is the next step.
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
    """Return the keyring with its phase starting now, since the edge knows it."""
    return replace(ring, changed_at=now)


def unknown_to_edge(ring: Keyring) -> Keyring:
    """Return the keyring with its phase not started, since the edge may not know it."""
    return replace(ring, changed_at=None)
