"""How parts become one object by S3 multipart: copied inside S3 where it lets us, read and uploaded where not."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, pairwise

from actions_cache.domain.archive import Manifest
from actions_cache.domain.ranges import PartRange, full_range

MIB = 1024 * 1024

MIN_UPLOAD_PART_BYTES = 5 * MIB
"""S3's floor for every part of a multipart upload but the last."""

MAX_UPLOAD_PARTS = 10_000
"""S3's cap on the parts of one multipart upload."""

MAX_COPY_BYTES = 256 * MIB
"""Longer copies are split: S3 copies pieces side by side, one piece at some 100 MB/s. S3's own cap is 5 GiB."""

UPLOAD_BYTES = 8 * MIB
"""Neighbours are gathered up to this. Larger: fewer requests, more memory for each in flight; smaller: the reverse."""


@dataclass(frozen=True, slots=True)
class Copy:
    """UploadPartCopy: no byte passes the worker."""

    number: int
    source: PartRange

    @property
    def size(self) -> int:
        return self.source.size


@dataclass(frozen=True, slots=True)
class Upload:
    """Neighbours that S3 won't copy, being under its floor: read together and uploaded as one part."""

    number: int
    sources: tuple[PartRange, ...]

    @property
    def size(self) -> int:
        return sum(source.size for source in self.sources)


Step = Copy | Upload


def plan_merge(manifest: Manifest) -> tuple[Step, ...]:
    """The steps whose parts, in the order of their numbers, are the archive.

    Every step but the last reaches S3's floor, and there are at most 10,000: for an archive that would need
    more, the floor is raised until they suffice.
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
    """Neighbouring ranges that make one step each."""
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
            yield from ((piece,) for piece in _split(rest, floor))
        elif rest.size:
            gathered.append(rest)
            gathered_bytes += rest.size
            if gathered_bytes >= max(UPLOAD_BYTES, floor):
                yield tuple(gathered)
                gathered, gathered_bytes = [], 0
    if gathered:
        yield tuple(gathered)


def _split(source: PartRange, floor: int) -> Iterator[PartRange]:
    """Pieces of about equal size, none under the floor or, where the floor allows, over MAX_COPY_BYTES."""
    pieces = max(1, min(-(-source.size // MAX_COPY_BYTES), source.size // floor))
    bounds = [source.start + source.size * i // pieces for i in range(pieces + 1)]
    return (PartRange(source.part, start, end) for start, end in pairwise(bounds))
