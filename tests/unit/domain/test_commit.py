"""The order of a block list, and what an upload without one holds: what began the blob last decides, as at Azure."""

from itertools import permutations

import pytest

from actions_cache.domain.archive import Part
from actions_cache.domain.errors import TooLarge
from actions_cache.domain.object_keys import ArchiveKeys
from actions_cache.domain.uploads import MAX_BLOCKS, assemble, whole_blob

KEYS = ArchiveKeys("0" * 32)
IDS = ("QQ==", "Qg==", "Qw==")


def arrivals(*operations: str) -> list[Part]:
    """One a millisecond: blob, new, append, block."""
    keys = {
        "blob": lambda at: KEYS.blob(at, "r"),
        "new": lambda at: KEYS.new_append(at, "r"),
        "append": lambda at: KEYS.appended(None, at, "r"),
        "block": lambda at: KEYS.block("QQ==", at, "r"),
    }
    return [
        Part(keys[operation](at), 0 if operation == "new" else 1, f"{at}") for at, operation in enumerate(operations)
    ]


def held(*operations: str) -> str | None:
    """The arrivals that count, by their numbers, whatever the order in which they are listed."""
    found = {
        None if blob is None else "".join(part.etag for part in blob.parts)
        for blob in (whole_blob(KEYS, arrivals(*operations)), whole_blob(KEYS, arrivals(*operations)[::-1]))
    }
    assert len(found) == 1
    return found.pop()


@pytest.mark.parametrize("ids", [*permutations(IDS)])
@pytest.mark.parametrize("arrived", [*permutations(IDS)])
def test_block_list_alone_orders_parts(ids: tuple[str, ...], arrived: tuple[str, ...]) -> None:
    """Neither when a block arrived nor what its id is: clients send them side by side, and OpenDAL's ids are random."""
    parts = [Part(KEYS.block(block_id, at, "r"), 1, block_id) for at, block_id in enumerate(arrived)]
    assert tuple(part.etag for part in assemble(KEYS, ids, parts)) == ids


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        (["blob", "blob"], "1"),
        (["new"], ""),
        (["new", "append", "append"], "12"),
        (["new", "append", "new", "append"], "3"),
        (["append", "new"], ""),
        (["append", "append"], "01"),
        (["blob", "new", "append"], "2"),
        (["new", "append", "blob"], "2"),
        (["blob", "append"], "0"),
        (["new", "append", "blob", "append"], "2"),
        (["blob", "new", "append", "block", "append"], "24"),
        (["block"], None),
        ([], None),
    ],
)
def test_last_blob_start_decides_content(operations, expected):
    assert held(*operations) == expected


def test_appended_chunk_count_is_bounded():
    most = [Part(KEYS.appended(None, at, "r"), 1, "e") for at in range(MAX_BLOCKS)]
    blob = whole_blob(KEYS, most)
    assert blob is not None
    assert blob.size == MAX_BLOCKS
    with pytest.raises(TooLarge, match="50001 pieces"):
        whole_blob(KEYS, [*most, Part(KEYS.appended(None, MAX_BLOCKS, "r"), 1, "e")])
