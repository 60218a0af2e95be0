"""An upload's content: the order of a block list, chunks of the v1 API, and blobs without a block list."""

import base64
import uuid
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions_cache.domain.archive import Archive, ArchiveState, Part
from actions_cache.domain.errors import InvalidBlockList, InvalidRequest, NotFound, TooLarge
from actions_cache.domain.object_keys import ArchiveKeys
from actions_cache.domain.ranges import ByteRange
from actions_cache.domain.uploads import (
    MAX_BLOCKS,
    MAX_PART_BYTES,
    assemble,
    assemble_appended,
    assemble_chunks,
    block_list_digest,
    check_names_each_once,
    check_takes_chunks,
    parse_content_range,
    whole_blob,
)
from tests.unit.domain.build import LIFETIMES, NOW, archive, stored_archive

KEYS = ArchiveKeys("0" * 32)
IDS = ("QQ==", "Qg==", "Qw==")

# ---------------------------------------------------------------- block lists


def block(block_id: str, at: int, size: int = 1) -> Part:
    return Part(KEYS.block(block_id, at, "request"), size, f'"{at}"')


@pytest.mark.parametrize("ids", [*permutations(IDS)])
@pytest.mark.parametrize("arrived", [*permutations(IDS)])
def test_block_list_alone_orders_parts(ids: tuple[str, ...], arrived: tuple[str, ...]) -> None:
    """Neither arrival times nor ids count: clients send blocks concurrently, and OpenDAL's ids are random."""
    parts = [Part(KEYS.block(block_id, at, "r"), 1, block_id) for at, block_id in enumerate(arrived)]
    assert tuple(part.etag for part in assemble(KEYS, ids, parts)) == ids


@given(st.permutations([base64.b64encode(uuid.uuid4().bytes).decode() for _ in range(8)]))
def test_block_list_orders_simultaneous_parts(order):
    arrivals = [block(block_id, 5) for block_id in sorted(order)]
    assert [part.key for part in assemble(KEYS, order, arrivals)] == [block(block_id, 5).key for block_id in order]


def test_resent_block_replaces_earlier_one():
    arrivals = [block("YQ==", 7, 70), block("YQ==", 9, 90), block("YQ==", 8, 80), block("Yg==", 1)]
    assert [part.size for part in assemble(KEYS, ["YQ=="], arrivals)] == [90]


def test_duplicate_or_missing_block_is_refused():
    check_names_each_once(["YQ==", "Yg==", "yq=="])
    with pytest.raises(InvalidBlockList, match="'Yg==' twice"):
        check_names_each_once(["YQ==", "Yg==", "Yg=="])
    with pytest.raises(InvalidBlockList, match="Yg=="):
        assemble(KEYS, ["YQ==", "Yg=="], [block("YQ==", 7)])
    assert len({block_list_digest(ids) for ids in (["YQ==", "Yg=="], ["Yg==", "YQ=="], ["YQ=="], [])}) == 4


# ---------------------------------------------------------------- blobs without a block list


def arrivals(*operations: str) -> list[Part]:
    """Return one arrival a millisecond, each with its number as its ETag."""
    keys = {
        "blob": lambda at: KEYS.blob(at, "r"),
        "new": lambda at: KEYS.new_append(at, "r"),
        "append": lambda at: KEYS.appended(None, at, "r"),
        "block": lambda at: KEYS.block("QQ==", at, "r"),
    }
    return [
        Part(keys[operation](at), 0 if operation == "new" else 1, f"{at}") for at, operation in enumerate(operations)
    ]


def content(*operations: str) -> str | None:
    """Return the numbers of the arrivals that make up the blob, which is the same in any order of listing."""
    in_either_order = {
        None if blob is None else "".join(part.etag for part in blob.parts)
        for blob in (whole_blob(KEYS, arrivals(*operations)), whole_blob(KEYS, arrivals(*operations)[::-1]))
    }
    assert len(in_either_order) == 1
    return in_either_order.pop()


CONTENTS = {
    "blob blob": "1",
    "new": "",
    "new append append": "12",
    "new append new append": "3",
    "append new": "",
    "append append": "01",
    "blob new append": "2",
    "new append blob": "2",
    "blob append": "0",
    "new append blob append": "2",
    "blob new append block append": "24",
    "block": None,
    "": None,
}


@pytest.mark.parametrize("operations", CONTENTS)
def test_last_blob_start_decides_content(operations):
    """Azure does the same."""
    assert content(*operations.split()) == CONTENTS[operations]


def test_appended_block_count_is_bounded():
    most = [Part(KEYS.appended(None, at, "r"), 1, "e") for at in range(MAX_BLOCKS)]
    blob = whole_blob(KEYS, most)
    assert blob is not None
    assert blob.size == MAX_BLOCKS
    with pytest.raises(TooLarge, match="50001 pieces"):
        whole_blob(KEYS, [*most, Part(KEYS.appended(None, MAX_BLOCKS, "r"), 1, "e")])


# ---------------------------------------------------------------- the order of appended blocks


def appended(at: int, size: int = 10, offset: str | None = None) -> Part:
    return Part(KEYS.appended(offset, at, "request"), size, f"{at}")


def order(*blocks: Part) -> str:
    return "".join(part.etag for part in assemble_appended(KEYS, blocks))


def test_appended_blocks_are_ordered_by_arrival_and_offset():
    assert order(appended(3, offset="20"), appended(1), appended(2, offset="10"), appended(4)) == "1234"
    assert order(appended(1, offset="0"), appended(2), appended(3, offset="20"), appended(4)) == "1234"
    assert order() == ""
    first, second = appended(1), appended(2, offset="10")
    assert order(first, second, appended(3, offset="10"), appended(4, offset="20")) == "134", "one is sent again"
    assert order(first, second, appended(3, offset="20"), appended(4, offset="0")) == "423"
    assert order(first, second, appended(3), appended(4, offset="10")) == "1234", "the earlier series stays"
    with pytest.raises(InvalidRequest):
        order(first, second, appended(3, 11, offset="10"))


@pytest.mark.parametrize("offset", ["5", "11", "999999999999999"])
def test_block_at_unknown_offset_is_refused(offset):
    with pytest.raises(InvalidRequest, match=f"appended at {offset}, but 10 bytes"):
        order(appended(1), appended(2, offset=offset))


def test_offsets_count_from_block_without_offset():
    """Azure's SDK begins each of its uploads without an offset, and is told 0; a second upload follows the first."""
    first = (appended(1), appended(2, offset="10"), appended(3, offset="20"))
    second = (appended(4, 5), appended(6, 7, offset="5"), appended(5, 7, offset="12"))
    assert order(*first, *second) == "123465"


# ---------------------------------------------------------------- chunks of the v1 API


def chunk(start: int, end: int, at: int = 1) -> Part:
    return Part(KEYS.chunk(ByteRange(start, end), at, "request"), end - start, f"{at}")


@pytest.mark.parametrize(
    ("header", "expected"),
    [("bytes 0-0/*", (0, 1)), ("bytes 10-19/*", (10, 20)), ("bytes 10-19/4000", (10, 20)), ("bytes 0-4/5", (0, 5))],
)
def test_content_range_is_parsed(header, expected):
    assert parse_content_range(header) == ByteRange(*expected)


INVALID = [None, "", "bytes", "bytes */10", "bytes 5-4/*", "bytes=0-1/*", "bytes 0-1", f"bytes 0-{'9' * 16}/*"]


@pytest.mark.parametrize("header", [*INVALID, "bytes -1-1/*", "bytes 0-4/4"])
def test_invalid_content_range_is_refused(header):
    with pytest.raises(InvalidRequest, match="Content-Range"):
        parse_content_range(header)


def test_oversized_chunk_is_refused():
    assert parse_content_range(f"bytes 1-{MAX_PART_BYTES}/*").size == MAX_PART_BYTES
    with pytest.raises(TooLarge, match=str(MAX_PART_BYTES + 1)):
        parse_content_range(f"bytes 0-{MAX_PART_BYTES}/*")


@pytest.mark.parametrize(
    ("upload", "after", "error"),
    [
        (archive(), LIFETIMES.upload_url, NotFound),
        (stored_archive(), LIFETIMES.upload_url, NotFound),
        (archive(state=ArchiveState.DELETED), 0, NotFound),
        (stored_archive(), 0, InvalidRequest),
    ],
    ids=["too late", "saved long ago", "deleted", "committed"],
)
def test_finished_upload_refuses_chunks(upload: Archive, after: int, error: type[Exception]):
    for until in (0, LIFETIMES.upload_url - 1):
        check_takes_chunks(archive(), NOW + until)
    with pytest.raises(error):
        check_takes_chunks(upload, NOW + after)


def test_chunks_are_ordered_by_position():
    chunks = [chunk(20, 25, 1), chunk(0, 10, 3), chunk(10, 20, 2)]
    assert assemble_chunks(KEYS, 25, chunks) == (chunks[1], chunks[2], chunks[0])
    assert assemble_chunks(KEYS, 0, []) == ()
    again = [chunk(0, 10, 2), chunk(0, 10, 10), chunk(0, 10, 9)]
    assert assemble_chunks(KEYS, 10, again) == (chunk(0, 10, 10),), "the last that was sent"


@pytest.mark.parametrize(
    ("chunks", "size", "message"),
    [
        ([chunk(5, 10)], 10, "from 0 to 4 never arrived"),
        ([chunk(0, 4), chunk(5, 10)], 10, "from 4 to 4 never arrived"),
        ([chunk(0, 6), chunk(5, 10)], 10, "two pieces bring the byte 5"),
        ([chunk(0, 6), chunk(0, 10)], 10, "two pieces bring the byte 0"),
        ([chunk(0, 9)], 10, "but 9 bytes arrived"),
        ([chunk(0, 11)], 10, "but 11 bytes arrived"),
        ([], 10, "but 0 bytes arrived"),
    ],
)
def test_chunks_must_match_size_exactly(chunks, size, message):
    with pytest.raises(InvalidRequest, match=message):
        assemble_chunks(KEYS, size, chunks)


def test_chunk_count_is_bounded():
    chunks = [chunk(at, at + 1) for at in range(MAX_BLOCKS + 1)]
    assert len(assemble_chunks(KEYS, MAX_BLOCKS, chunks[:-1])) == MAX_BLOCKS
    with pytest.raises(TooLarge, match=str(MAX_BLOCKS + 1)):
        assemble_chunks(KEYS, MAX_BLOCKS + 1, chunks)
