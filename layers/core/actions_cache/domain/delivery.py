"""The delivery rule: how a download gets its bytes fastest within the limits of where it runs."""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from actions_cache.domain.archive import Archive, MergeState
from actions_cache.domain.merge_plan import MIB, MIN_UPLOAD_PART_BYTES

MERGE_START_SECONDS = 2.0
"""Seconds from a merge's claim to its first copy: the queue, a worker's cold start, and one round of copies. Estimated,
not measured on AWS. Larger: more archives are streamed although a merge would be faster. Smaller: more clients wait."""

COPY_BYTES_PER_SECOND = 1024 * MIB
"""Speed of a merge by concurrent copies. Estimated: docs/design/aws-limits.md#s3."""

UPLOAD_BYTES_PER_SECOND = 80 * MIB
"""Speed of a merge by uploads from the worker. Estimated: docs/design/aws-limits.md#s3."""


class Delivery(StrEnum):
    """The ways to deliver an archive that isn't one object yet."""

    STREAM = "stream"
    WAIT = "wait for the merge"
    RETRY = "let the client come again"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """The limits of a streamed response; None for no limit. On Lambda: 200 MB, the first 6 MB at once, then 2 MB/s."""

    max_bytes: int | None = None
    burst_bytes: int = 0
    bytes_per_second: int | None = None

    def fits(self, size: int) -> bool:
        """Return whether a response of this size can be streamed at all."""
        return self.max_bytes is None or size <= self.max_bytes

    def seconds(self, size: int) -> float:
        """Return how many seconds a stream takes if nothing but these limits slows it down."""
        return 0.0 if self.bytes_per_second is None else max(0, size - self.burst_bytes) / self.bytes_per_second

    def throttles(self, size: int) -> bool:
        """Return whether the limits slow down or prevent a response of this size, so that another source is better."""
        return not self.fits(size) or self.seconds(size) > 0


def merge_seconds(size: int, part_count: int) -> float:
    """Return how many seconds a merge is expected to take from its claim on."""
    copies = size >= part_count * MIN_UPLOAD_PART_BYTES
    return MERGE_START_SECONDS + size / (COPY_BYTES_PER_SECOND if copies else UPLOAD_BYTES_PER_SECOND)


def choose_delivery(
    *, size: int, part_count: int, merge_state: MergeState, limits: StreamLimits, may_wait: bool
) -> Delivery:
    """Return how to deliver an archive that isn't one object yet.

    Args:
        size: Number of bytes that the client requests.
        part_count: Number of the archive's parts.
        merge_state: State of the archive's merge.
        limits: Limits of this deployment's streams.
        may_wait: False once the bounded wait is over.
    """
    waiting_helps = may_wait and merge_state is not MergeState.FAILED
    if limits.fits(size) and not (waiting_helps and limits.seconds(size) > merge_seconds(size, part_count)):
        return Delivery.STREAM
    return Delivery.WAIT if waiting_helps else Delivery.RETRY


class Source(StrEnum):
    """The places to which a client can be sent for an archive's bytes."""

    S3 = "a presigned URL of the store"
    CLOUDFRONT = "the one object, through the edge"
    SERVER = "our own download URL"


def choose_source(archive: Archive, *, can_read_from_s3: bool, has_edge: bool, may_seek: bool = True) -> Source:
    """Return the source of an archive's bytes: S3 or CloudFront if the client can use them, else our function.

    Requests for ranges of an empty object go to our function, because S3's own 416 may lack the total that OpenDAL
    needs. Requests for all of an empty object go to S3, because a response without a body may never end when a Lambda
    streams it.

    Args:
        archive: The archive as it is stored now.
        can_read_from_s3: False if the client may send `x-ms-range`, which S3 ignores
            (docs/design/protocol.md#x-ms-range).
        has_edge: True if the client came through the edge, which turns `x-ms-range` into `Range`.
        may_seek: True if the client may still request a range; False once its only request is known.
    """
    if archive.object is None or (archive.size == 0 and may_seek):
        return Source.SERVER
    if can_read_from_s3:
        return Source.S3
    return Source.CLOUDFRONT if has_edge else Source.SERVER


# ---------------------------------------------------------------- part lists

MAX_LISTED_PARTS = 1000
"""Most parts of a part list. More: longer answers than the 220 KB of a thousand, each read by a request of its own, of
which S3 takes money and time. Fewer: more archives of short parts wait for their merge."""


class PlainReason(StrEnum):
    """The reasons for which a client that asks for the part list, or for a direct upload, gets the plain answer."""

    RANGE = "range"
    """The request names a range or an ETag of ours, and a list is of all bytes."""
    EMPTY = "empty"
    TOO_MANY_PARTS = "too many parts"
    OUT_OF_REACH = "store out of reach"
    """The client can't use URLs of this store."""
    GONE = "gone"
    """The archive or its manifest is gone."""
    UNAVAILABLE = "unavailable"
    """A service didn't respond, or not as it should."""


def why_not_listed(archive: Archive, *, wants_all: bool) -> PlainReason | None:
    """Return why a client that asks for an archive's part list gets the plain answer; None if it gets the list.

    No limit of streams counts, and no state of the merge: a list carries no byte of the archive, and its reader waits
    for nothing. An archive of one object is a list of one.

    Args:
        archive: The archive as it is stored now.
        wants_all: False if the request names a range, or an ETag that the answer must have.
    """
    if not wants_all:
        return PlainReason.RANGE
    if archive.size == 0:
        return PlainReason.EMPTY
    part_count = archive.commit.part_count if archive.commit and archive.object is None else 1
    return None if part_count <= MAX_LISTED_PARTS else PlainReason.TOO_MANY_PARTS


def can_reach(store: str, server: str) -> bool:
    """Return whether a client can use URLs of a store.

    A store on loopback is another one to a client on another machine. One without TLS shows the bytes of a cache to
    others, so that clients refuse to go there from a server with TLS.

    Args:
        store: The beginning of the store's URLs.
        server: The beginning of the server's URLs, as the client asks it.
    """
    try:
        stored_at, asked_at = urlsplit(store), urlsplit(server)
        if _is_on_loopback(stored_at):
            return _is_on_loopback(asked_at)
    except ValueError:
        # The Host header is invalid, half of an IPv6 address say.
        return False
    return stored_at.scheme == "https" or asked_at.scheme != "https"


def _is_on_loopback(url: SplitResult) -> bool:
    host = url.hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
