import pytest

from actions_cache.domain.archive import Archive, ArchiveState, Part
from actions_cache.domain.entry import Entry, EntryFamily, EntryName, numbered_archive_id
from actions_cache.domain.errors import InvalidRequest, NotFound, TooLarge
from actions_cache.domain.object_keys import ArchiveKeys
from actions_cache.domain.ranges import ByteRange
from actions_cache.domain.uploads import (
    MAX_BLOCKS,
    MAX_PART_BYTES,
    assemble_chunks,
    check_takes_chunks,
    parse_content_range,
)
from tests.unit.domain.build import LIFETIMES, NOW, archive, stored_archive

KEYS = ArchiveKeys("0" * 32)


def piece(start: int, end: int, at: int = 1) -> Part:
    return Part(KEYS.chunk(ByteRange(start, end), at, "request"), end - start, f"{at}")


@pytest.mark.parametrize(
    ("header", "wanted"),
    [("bytes 0-0/*", (0, 1)), ("bytes 10-19/*", (10, 20)), ("bytes 10-19/4000", (10, 20)), ("bytes 0-4/5", (0, 5))],
)
def test_content_range_is_parsed(header, wanted):
    assert parse_content_range(header) == ByteRange(*wanted)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes */10",
        "bytes 5-4/*",
        "bytes=0-1/*",
        "bytes 0-1",
        f"bytes 0-{'9' * 16}/*",
        "bytes -1-1/*",
        "bytes 0-4/4",
    ],
)
def test_invalid_content_range_is_refused(header):
    with pytest.raises(InvalidRequest, match="Content-Range"):
        parse_content_range(header)


def test_oversized_chunk_is_refused():
    assert parse_content_range(f"bytes 1-{MAX_PART_BYTES}/*").size == MAX_PART_BYTES
    with pytest.raises(TooLarge, match=str(MAX_PART_BYTES + 1)):
        parse_content_range(f"bytes 0-{MAX_PART_BYTES}/*")


@pytest.mark.parametrize("after", [0, LIFETIMES.upload_url - 1])
def test_upload_accepts_chunks_until_it_expires(after: int):
    check_takes_chunks(archive(), NOW + after)


@pytest.mark.parametrize(
    ("upload", "after", "why"),
    [
        (archive(), LIFETIMES.upload_url, NotFound),
        (stored_archive(), LIFETIMES.upload_url, NotFound),
        (archive(state=ArchiveState.DELETED), 0, NotFound),
        (stored_archive(), 0, InvalidRequest),
    ],
    ids=["too late", "saved long ago", "deleted", "committed"],
)
def test_finished_upload_refuses_chunks(upload: Archive, after: int, why: type[Exception]):
    with pytest.raises(why):
        check_takes_chunks(upload, NOW + after)


def test_chunks_are_ordered_by_position():
    pieces = [piece(20, 25, 1), piece(0, 10, 3), piece(10, 20, 2)]
    assert assemble_chunks(KEYS, 25, pieces) == (pieces[1], pieces[2], pieces[0])
    assert assemble_chunks(KEYS, 0, []) == ()


def test_resent_chunk_replaces_earlier_one():
    assert assemble_chunks(KEYS, 10, [piece(0, 10, 2), piece(0, 10, 10), piece(0, 10, 9)]) == (piece(0, 10, 10),)


@pytest.mark.parametrize(
    ("pieces", "size", "why"),
    [
        ([piece(5, 10)], 10, "from 0 to 4 never arrived"),
        ([piece(0, 4), piece(5, 10)], 10, "from 4 to 4 never arrived"),
        ([piece(0, 6), piece(5, 10)], 10, "two pieces bring the byte 5"),
        ([piece(0, 6), piece(0, 10)], 10, "two pieces bring the byte 0"),
        ([piece(0, 9)], 10, "but 9 bytes arrived"),
        ([piece(0, 11)], 10, "but 11 bytes arrived"),
        ([], 10, "but 0 bytes arrived"),
    ],
)
def test_chunks_must_match_size_exactly(pieces, size, why):
    with pytest.raises(InvalidRequest, match=why):
        assemble_chunks(KEYS, size, pieces)


def test_chunk_count_is_bounded():
    pieces = [piece(at, at + 1) for at in range(MAX_BLOCKS + 1)]
    assert len(assemble_chunks(KEYS, MAX_BLOCKS, pieces[:-1])) == MAX_BLOCKS
    with pytest.raises(TooLarge, match=str(MAX_BLOCKS + 1)):
        assemble_chunks(KEYS, MAX_BLOCKS + 1, pieces)


def test_upload_number_leads_to_its_archive():
    name = EntryName(EntryFamily("1", "refs/heads/main", "v"), "key")
    for number in (1, 16**13 - 1):
        archive_id = numbered_archive_id(number)
        assert len(archive_id) == 32
        assert Entry(name, archive_id, 0, 0).id == number
