"""The delivery rule: how a download gets its bytes fastest, given what the place it runs in can stream."""

from dataclasses import dataclass
from enum import StrEnum

from actions_cache.domain.archive import Archive, MergeState
from actions_cache.domain.merge_plan import MIN_UPLOAD_PART_BYTES

MIB = 1024 * 1024

MERGE_START_SECONDS = 2.0
"""From claim to first copy: queue, a worker's cold start, one round of copies. Estimated, not measured on AWS."""

COPY_BYTES_PER_SECOND = 1024 * MIB
UPLOAD_BYTES_PER_SECOND = 80 * MIB
"""What a merge gets done by copies in parallel, and through the worker. Estimates: docs/design/aws-limits.md#s3."""


class Delivery(StrEnum):
    STREAM = "stream"
    WAIT = "wait for the merge"
    RETRY = "let the client come again"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """What a response may stream: None for no limit. On Lambda: 200 MB, the first 6 MB at once, then 2 MB/s."""

    max_bytes: int | None = None
    burst_bytes: int = 0
    bytes_per_second: int | None = None

    def fits(self, size: int) -> bool:
        return self.max_bytes is None or size <= self.max_bytes

    def seconds(self, size: int) -> float:
        """How long these limits alone make a stream last."""
        return 0.0 if self.bytes_per_second is None else max(0, size - self.burst_bytes) / self.bytes_per_second

    def throttles(self, size: int) -> bool:
        """Return whether a response of this size is better had from elsewhere."""
        return not self.fits(size) or self.seconds(size) > 0


def merge_seconds(size: int, part_count: int) -> float:
    """How long a merge can be expected to take from its claim on."""
    copies = size >= part_count * MIN_UPLOAD_PART_BYTES
    return MERGE_START_SECONDS + size / (COPY_BYTES_PER_SECOND if copies else UPLOAD_BYTES_PER_SECOND)


def choose_delivery(
    *, size: int, part_count: int, merge_state: MergeState, limits: StreamLimits, may_wait: bool
) -> Delivery:
    """How an archive that isn't one object yet is delivered.

    Args:
        size: how many bytes the client asks for.
        part_count: of the whole archive.
        merge_state: of the archive.
        limits: what this deployment can stream.
        may_wait: False once the bounded wait is over.
    """
    waiting_helps = may_wait and merge_state is not MergeState.FAILED
    if limits.fits(size) and not (waiting_helps and limits.seconds(size) > merge_seconds(size, part_count)):
        return Delivery.STREAM
    return Delivery.WAIT if waiting_helps else Delivery.RETRY


class Source(StrEnum):
    """Where a client is sent for an archive's bytes."""

    S3 = "a presigned URL of the store"
    CLOUDFRONT = "the one object, through the edge"
    SERVER = "our own download URL"


def choose_source(archive: Archive, *, can_read_from_s3: bool, has_edge: bool, may_seek: bool = True) -> Source:
    """Return where an archive's bytes can be had without passing one of our functions, if anywhere.

    Ranges of an empty object are ours to refuse: it isn't proven that S3's own 416 has the total that OpenDAL needs. S3
    serves an empty object as a whole: an answer without a body may not end when a Lambda streams it.

    Args:
        archive: as it is stored now.
        can_read_from_s3: whether this client never asks by `x-ms-range`, which S3 ignores
            (docs/design/protocol.md#x-ms-range).
        has_edge: whether the client reached us through the edge, which makes it a `Range`.
        may_seek: whether the client may still ask for a range; False once its one request is known.
    """
    if archive.object is None or (archive.size == 0 and may_seek):
        return Source.SERVER
    if can_read_from_s3:
        return Source.S3
    return Source.CLOUDFRONT if has_edge else Source.SERVER
