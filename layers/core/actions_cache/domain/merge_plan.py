"""The plan of a merge: parts become one object by a multipart upload.

S3 copies the parts itself where it allows that; the worker reads and uploads the others.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, pairwise

from actions_cache.domain.archive import Manifest
from actions_cache.domain.errors import TooLarge
from actions_cache.domain.ranges import PartRange, full_range

MIB = 1024 * 1024

MIN_UPLOAD_PART_BYTES = 5 * MIB
"""Fewest bytes that S3 takes for a part of a multipart upload, except the last one."""

MAX_UPLOAD_PARTS = 10_000
"""Most parts that S3 takes for one multipart upload."""

MAX_COPY_BYTES = 256 * MIB
"""Most bytes of one copy; longer parts are copied in slices, concurrently. Larger: fewer requests, but slower, since S3
copies at some 100 MB/s a request. Smaller: the reverse. S3 allows 5 GiB."""

UPLOAD_BYTES = 8 * MIB
"""Bytes up to which small neighbouring parts are gathered for one upload. Larger: fewer requests, but more memory for
each in flight. Smaller: the reverse."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A step that S3 does itself with UploadPartCopy, so that no bytes pass through the worker."""

    number: int
    source: PartRange

    @property
    def size(self) -> int:
        return self.source.size


@dataclass(frozen=True, slots=True)
class Upload:
    """A step in which the worker reads small neighbouring parts, which S3 won't copy, and uploads them as one part."""

    number: int
    sources: tuple[PartRange, ...]

    @property
    def size(self) -> int:
        return sum(source.size for source in self.sources)


Step = Copy | Upload


def plan_merge(manifest: Manifest) -> tuple[Step, ...]:
    """Return the steps whose parts, in the order of their numbers, make up the archive.

    Every step but the last reaches S3's minimum size. If an archive would need more than 10,000 steps, a larger minimum
    is used, so that they suffice.
    """
    steps = _steps(manifest, MIN_UPLOAD_PART_BYTES)
    if len(steps) <= MAX_UPLOAD_PARTS:
        return steps
    return _steps(manifest, -(-manifest.size // (MAX_UPLOAD_PARTS - 1)))


def _steps(manifest: Manifest, floor: int) -> tuple[Step, ...]:
    numbers = count(1)
    return tuple(
        Copy(next(numbers), run[0]) if _can_copy(run, floor) else Upload(next(numbers), run)
        for run in _runs(manifest, floor)
    )


def _can_copy(run: tuple[PartRange, ...], floor: int) -> bool:
    return len(run) == 1 and run[0].size >= floor


def _runs(manifest: Manifest, floor: int) -> Iterator[tuple[PartRange, ...]]:
    """Yield the neighbouring ranges of each step."""
    gathered: list[PartRange] = []
    gathered_bytes = 0
    for part in manifest.parts:
        rest = full_range(part)
        if rest.size >= floor and gathered:
            # A short run before a long part takes from it what it lacks, unless too little would be left to copy.
            missing = max(0, floor - gathered_bytes)
            if rest.size - missing >= floor:
                head, rest = PartRange(part, 0, missing), PartRange(part, missing, part.size)
                yield (*gathered, *([head] if head.size else []))
                gathered, gathered_bytes = [], 0
        if rest.size >= floor and not gathered:
            yield from ((source,) for source in _split(rest, floor))
        elif rest.size:
            gathered.append(rest)
            gathered_bytes += rest.size
            if gathered_bytes >= max(UPLOAD_BYTES, floor):
                yield tuple(gathered)
                gathered, gathered_bytes = [], 0
    if gathered:
        yield tuple(gathered)


def _split(source: PartRange, floor: int) -> Iterator[PartRange]:
    """Return slices of about equal size, none below the floor and, if the floor allows, none over MAX_COPY_BYTES."""
    slices = max(1, min(-(-source.size // MAX_COPY_BYTES), source.size // floor))
    bounds = [source.start + source.size * i // slices for i in range(slices + 1)]
    return (PartRange(source.part, start, end) for start, end in pairwise(bounds))


# ---------------------------------------------------------------- the worker's time

READ_SECONDS = 0.0045
"""Processor time that the worker takes to read one small part, measured (`make bench`, case merges) and rounded up.
Larger: archives of many small parts are refused that could be merged. Smaller: some are taken that can't."""

PASSED_SECONDS_PER_MIB = 0.008
"""Processor time that the worker takes for each MiB that passes it: two MD5s, reading, joining, sending. Measured and
bounded like READ_SECONDS."""

COPY_SECONDS = 0.2
"""Time that S3 takes for a copy beside its bytes: its latency is roughly 100 to 200 ms
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html)."""

COPIED_BYTES_PER_SECOND = 50 * MIB
"""Speed of one copy: half of what S3 is known for (docs/design/aws-limits.md#s3)."""

FULL_CORE_MB = 1769
"""Memory at which a function has one processor's time; less has less in proportion:
https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html."""

MERGE_SECONDS = 200
"""Seconds that a merge may be expected to take, of the worker's 300. More: larger archives are taken, and a slow day of
S3 fails them. Less: the reverse."""


@dataclass(frozen=True, slots=True)
class MergeWorker:
    """The worker that will merge what is committed.

    Args:
        memory_mb: its memory, which buys its share of a processor.
        concurrency: copies that it has in flight.
    """

    memory_mb: int
    concurrency: int

    def seconds(self, manifest: Manifest) -> float:
        """Return how long a merge is expected to take."""
        share = min(1.0, self.memory_mb / FULL_CORE_MB)
        copying, passing = 0.0, 0.0
        for step in plan_merge(manifest):
            if isinstance(step, Copy):
                copying += COPY_SECONDS + step.size / COPIED_BYTES_PER_SECOND
            else:
                passing += len(step.sources) * READ_SECONDS + step.size / MIB * PASSED_SECONDS_PER_MIB
        return copying / self.concurrency + passing / share

    def check(self, manifest: Manifest) -> None:
        """Check that these parts can be merged in time.

        Raises:
            TooLarge: they can't.
        """
        if len(manifest.parts) > 1 and (seconds := self.seconds(manifest)) > MERGE_SECONDS:
            raise TooLarge(
                f"{len(manifest.parts)} parts of {manifest.size / len(manifest.parts) / MIB:.2f} MiB on average would "
                f"take some {seconds:.0f} s to merge, and {MERGE_SECONDS} s are allowed; send less, or blocks of 5 MiB "
                "and more, which S3 copies by itself (docs/deploy/sizing.md#the-largest-entry)"
            )
