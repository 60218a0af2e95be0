"""Uploads in Azure's dialect, as each client sends them: what comes back is what the block list says, and only that."""

import base64
import os
import random
import uuid
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl, quote, urlencode

import pytest

from dev.clients.wire import (
    Job,
    block_list_xml,
    put_blob,
    put_block,
    put_block_list,
    random_block_id,
    send,
    with_query,
)

BLOCK_IDS: Mapping[str, Callable[[int], bytes]] = {
    "OpenDAL: 16 random bytes": lambda _: uuid.uuid4().bytes,
    "@actions/cache: 36 characters and 12 digits": lambda i: f"{uuid.UUID(int=0)}{i:012d}".encode(),
    "BuildKit: uuid, index, zeros": lambda i: uuid.UUID(int=0).bytes + i.to_bytes(4, "big") + bytes(44),
    "wireit: 4 hexadecimal digits": lambda i: f"{i:04x}".encode(),
    "Azure SDK for Python: a padded number": lambda i: f"{i:032d}".encode(),
    "one byte": lambda i: bytes([255 - i]),
}


def some_blocks(number: int) -> list[bytes]:
    return [os.urandom(1000 + i) for i in range(number)]


def ids_of(kind: str, number: int) -> list[str]:
    return [base64.b64encode(BLOCK_IDS[kind](i)).decode() for i in range(number)]


def commit(job: Job, key: str, url: str, block_ids: list[str], size: int) -> None:
    assert put_block_list(url, block_ids).status == 201
    assert job.finalize(key, size).json["ok"]


# ------------------------------------------------------------------ order


@pytest.mark.parametrize("kind", BLOCK_IDS)
def test_block_list_determines_order(unmerged_job: Job, kind: str):
    blocks = dict(zip(ids_of(kind, 12), some_blocks(12), strict=True))
    arrival_order, list_order = list(blocks), list(blocks)
    random.Random(1).shuffle(arrival_order)
    random.Random(2).shuffle(list_order)
    url = unmerged_job.reserve("key")

    for block_id in arrival_order:
        assert put_block(url, block_id, blocks[block_id]).status == 201
    commit(unmerged_job, "key", url, list_order, sum(map(len, blocks.values())))

    assert unmerged_job.restore("key").body == b"".join(blocks[block_id] for block_id in list_order)


def test_merge_keeps_block_list_order(job: Job):
    ids, blocks = ids_of("OpenDAL: 16 random bytes", 12), some_blocks(12)
    url = job.reserve("key")
    for block_id, block in sorted(zip(ids, blocks, strict=True)):
        put_block(url, block_id, block)

    commit(job, "key", url, ids, sum(map(len, blocks)))
    job.wait_until_merged("key")

    assert job.restore("key").body == b"".join(blocks)


def test_empty_blocks_do_not_stop_merge(job: Job):
    job.save("key", b"", b"first", b"", b"second", b"")
    job.wait_until_merged("key")

    assert job.restore("key").body == b"firstsecond"


# ------------------------------------------------------------------ the URL


def last(url: str, parameters: Mapping[str, str]) -> str:
    return with_query(url, last=parameters)


def first(url: str, parameters: Mapping[str, str]) -> str:
    return with_query(url, first=parameters)


def sorted_and_encoded_again(url: str, parameters: Mapping[str, str]) -> str:
    """Add parameters as Go does: take the query apart, sort it, and join it with its own escapes."""
    base, _, query = url.partition("?")
    return f"{base}?{urlencode(sorted([*parse_qsl(query), *parameters.items()]))}"


def every_character_encoded(url: str, parameters: Mapping[str, str]) -> str:
    base, _, query = url.partition("?")
    pairs = [*parse_qsl(query), *parameters.items()]
    return (
        base + "?" + "&".join(f"{name}={''.join(f'%{byte:02x}' for byte in value.encode())}" for name, value in pairs)
    )


@pytest.mark.parametrize("put_together", [last, first, sorted_and_encoded_again, every_character_encoded])
def test_signature_survives_query_rewriting(job: Job, put_together: Callable[[str, Mapping[str, str]], str]):
    block_id = base64.b64encode(b"\xfb\xff\xfe?>" + bytes(16)).decode()
    assert quote(block_id, safe="") != block_id, "an id with nothing to encode proves nothing"
    url = job.reserve("key")

    block = send("PUT", put_together(url, {"comp": "block", "blockid": block_id}), b"data")
    block_list = send("PUT", put_together(url, {"comp": "blocklist"}), block_list_xml([block_id]))

    assert (block.status, block_list.status) == (201, 201)
    assert job.finalize("key", 4).json["ok"]


def test_comp_value_is_case_insensitive(job: Job):
    block_id = random_block_id()
    url = job.reserve("key")

    block = send("PUT", with_query(url, last={"comp": "BLOCK", "blockid": block_id}), b"data")
    block_list = send("PUT", with_query(url, first={"comp": "BlockList"}), block_list_xml([block_id]))

    assert (block.status, block_list.status) == (201, 201)
    assert job.finalize("key", 4).json["ok"]


def test_upload_url_has_only_unreserved_characters(job: Job):
    """OpenDAL and sccache refuse any other."""
    base, _, query = job.reserve("key").removeprefix(job.server).partition("?")

    assert base.count("/") >= 2
    assert query
    assert quote(base, safe="/") == base
    assert quote(query, safe="=&") == query


# ------------------------------------------------------------------ replies


def test_put_replies_have_required_headers(job: Job):
    """200 is an error to the JavaScript client, and BuildKit panics without x-ms-request-id."""
    block_id = random_block_id()
    url = job.reserve("key")

    replies = [put_blob(url, b"data"), put_block(url, block_id, b"data"), put_block_list(url, [block_id])]

    assert [reply.status for reply in replies] == [201, 201, 201]
    for reply in replies:
        assert all(name in reply.headers for name in ("x-ms-request-id", "ETag", "Last-Modified")), str(reply.headers)


# ------------------------------------------------------------------ again, and late


def test_repeated_and_late_requests_change_nothing(unmerged_job: Job):
    """An upload URL lives for an hour, and a client's retry may come any time."""
    first, second, left_out = (random_block_id() for _ in range(3))
    url = unmerged_job.reserve("key")
    for block_id, body in ((first, b"first "), (second, b"?"), (left_out, b"left out"), (second, b"second")):
        assert put_block(url, block_id, body).status == 201

    listed = [put_block_list(url, ids) for ids in ([first, second], [first, second], [second, first], [first])]
    late = [put_block(url, first, b"late"), put_blob(url, b"late")]
    finalized = [unmerged_job.finalize("key", size) for size in (11, 12, "12", 13)]
    late += [put_block(url, first, b"later"), put_blob(url, b"later"), put_block_list(url, [first, second])]

    assert [reply.status for reply in listed] == [201, 201, 409, 409]
    assert listed[2].headers["x-ms-error-code"] == "BlobAlreadyExists"
    assert {reply.status for reply in late} == {201}
    assert [reply.status for reply in finalized] == [400, 200, 200, 400]
    assert finalized[1].json["entry_id"] == finalized[2].json["entry_id"]
    assert unmerged_job.restore("key").body == b"first second"
