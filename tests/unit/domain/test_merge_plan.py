import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions_cache.domain.archive import Manifest, Part
from actions_cache.domain.errors import TooLarge
from actions_cache.domain.merge_plan import (
    MAX_COPY_BYTES,
    MAX_UPLOAD_PARTS,
    MIB,
    MIN_UPLOAD_PART_BYTES,
    UPLOAD_BYTES,
    Copy,
    MergeWorker,
    Step,
    Upload,
    plan_merge,
)

FLOOR = MIN_UPLOAD_PART_BYTES


def manifest(*sizes: int) -> Manifest:
    return Manifest(tuple(Part(f"part-{i}", size, f'"{i}"') for i, size in enumerate(sizes)))


def ranges(steps: tuple[Step, ...]):
    for step in steps:
        yield from (step.source,) if isinstance(step, Copy) else step.sources


def assert_makes_archive(steps: tuple[Step, ...], archive: Manifest) -> None:
    """Check that the steps' bytes are the parts' bytes in order, none missing and none twice."""
    expected = [(part.key, 0, part.size) for part in archive.parts if part.size]
    joined: list[tuple[str, int, int]] = []
    for source in ranges(steps):
        if joined and joined[-1][0] == source.part.key and joined[-1][2] == source.start:
            joined[-1] = (joined[-1][0], joined[-1][1], source.end)
        else:
            joined.append((source.part.key, source.start, source.end))
    assert joined == expected
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))


def assert_s3_takes(steps: tuple[Step, ...]) -> None:
    assert len(steps) <= MAX_UPLOAD_PARTS
    assert all(step.size >= MIN_UPLOAD_PART_BYTES for step in steps[:-1])
    assert all(step.size <= 5 * 1024 * MIB for step in steps)
    assert all(source.size > 0 for source in ranges(steps))


EDGES = (FLOOR, 2 * FLOOR, UPLOAD_BYTES, MAX_COPY_BYTES)
BOUNDARIES = (0, 1, *(edge + offset for edge in EDGES for offset in (-1, 0, 1)), 64 * MIB, 5 * 1024 * MIB)


@given(st.lists(st.sampled_from(BOUNDARIES) | st.integers(0, 3 * FLOOR), max_size=40))
def test_plan_builds_archive_within_s3_limits(sizes):
    archive = manifest(*sizes)
    steps = plan_merge(archive)
    assert_makes_archive(steps, archive)
    assert_s3_takes(steps)


def test_large_blocks_are_copied_and_small_ones_gathered():
    steps = plan_merge(manifest(*[64 * MIB] * 10, 1))
    assert [type(step) for step in steps] == [Copy] * 10 + [Upload]
    assert steps[-1].size == 1
    steps = plan_merge(manifest(*[MIB] * 705))
    assert all(isinstance(step, Upload) and step.size <= UPLOAD_BYTES for step in steps)
    assert len(steps) == -(-705 // 8)
    steps = plan_merge(manifest(*[FLOOR] * MAX_UPLOAD_PARTS))
    assert [type(step) for step in steps] == [Copy] * MAX_UPLOAD_PARTS
    assert plan_merge(manifest()) == plan_merge(manifest(0, 0)) == ()


@pytest.mark.parametrize("size", [FLOOR, FLOOR + 1, MAX_COPY_BYTES])
def test_part_from_floor_on_is_copied_whole(size):
    assert plan_merge(manifest(size)) == (Copy(1, next(ranges(plan_merge(manifest(size))))),)
    assert next(ranges(plan_merge(manifest(size)))).is_whole
    assert isinstance(plan_merge(manifest(FLOOR - 1, 64 * MIB))[0], Upload)


def test_short_part_takes_only_missing_bytes():
    upload, copy = plan_merge(manifest(MIB, 64 * MIB))
    assert isinstance(upload, Upload)
    assert isinstance(copy, Copy)
    assert (upload.size, copy.size) == (FLOOR, 60 * MIB)


def test_long_part_is_copied_in_slices():
    steps = plan_merge(manifest(5 * 1024 * MIB))
    assert all(isinstance(step, Copy) and step.size <= MAX_COPY_BYTES for step in steps)


@pytest.mark.parametrize("count", [9_999, 10_000, 10_001, 50_000])
def test_excess_parts_are_gathered_until_they_fit(count):
    archive = manifest(*[8 * MIB] * count)
    steps = plan_merge(archive)
    assert_makes_archive(steps, archive)
    assert_s3_takes(steps)


WORKER = MergeWorker(memory_mb=1024, concurrency=16)

LARGEST = {
    "blocks of 1 MiB": (1, 9_000, 10_500),
    "blocks of 4 MiB": (4, 2_900, 3_300),
    "blocks of 5 MiB, which S3 copies": (5, 10_000, 10_000),
    "blocks of 64 MiB": (64, 2_000, 2_300),
}
"""MiB of a block, and between how many of them the bound is. More than 10,000 copies don't fit one upload, so that all
bytes would pass the worker."""


@pytest.mark.parametrize("blocks", LARGEST)
def test_upload_that_takes_too_long_to_merge_is_refused(blocks: str) -> None:
    size, taken, refused = LARGEST[blocks]
    WORKER.check(manifest(*[size * MIB] * taken))
    with pytest.raises(TooLarge, match="to merge, and 200 s are allowed; send less, or blocks of 5 MiB"):
        WORKER.check(manifest(*[size * MIB] * (refused + 1)))


def test_single_part_of_any_size_is_taken() -> None:
    WORKER.check(manifest(5 * 1024**4))


def test_less_memory_merges_less_in_time() -> None:
    small = MergeWorker(memory_mb=512, concurrency=16)
    with pytest.raises(TooLarge):
        small.check(manifest(*[MIB] * 9_000))
    assert small.seconds(manifest(*[64 * MIB] * 100)) == WORKER.seconds(manifest(*[64 * MIB] * 100))
