"""Clients' block lists are read, and everything else is refused in bounded memory."""

import base64
import tracemalloc

import pytest

from actions_cache.domain.errors import InvalidRequest, TooLarge
from actions_cache.domain.uploads import MAX_BLOCKS
from functions.api.uploads import parse_block_list

MIB = 1024 * 1024
SIZE = 4_200_000
"""Size of a hostile body, just under the limit."""


@pytest.mark.parametrize(
    "body",
    [
        # This is @actions/cache's, and that of Azure's SDK for Python.
        b'<?xml version="1.0" encoding="UTF-8" standalone="yes"?><BlockList><Latest>QQ==</Latest></BlockList>',
        b"<?xml version='1.0' encoding='utf-8'?>\n<BlockList><Latest>QQ==</Latest></BlockList>",
        # BuildKit sends no declaration.
        b"<BlockList><Latest>QQ==</Latest></BlockList>",
        # This is wireit's.
        b"<BlockList>\n  <Uncommitted>QQ==</Uncommitted>\n</BlockList>\n",
        b"\xef\xbb\xbf<BlockList><Committed>QQ==</Committed></BlockList>",
        '<?xml version="1.0" encoding="UTF-16"?><BlockList><Latest>QQ==</Latest></BlockList>'.encode("utf-16"),
        b"<BlockList><!-- one --><Latest>\r\n\tQQ==  \n</Latest></BlockList>",
        b"<BlockList><Latest>Q&#81;<![CDATA[==]]></Latest></BlockList>",
        b"<BlockList><Latest>" + b" " * MIB + b"QQ==</Latest></BlockList>",
    ],
)
def test_block_list_forms_are_parsed(body: bytes):
    assert parse_block_list(body) == ("QQ==",)


def test_block_list_keeps_order_and_may_be_empty():
    ids = [base64.b64encode(bytes([number])).decode() for number in (3, 1, 2)]
    rows = "".join(f"<Latest>{block_id}</Latest>" for block_id in ids)
    assert parse_block_list(f"<BlockList>{rows}</BlockList>".encode()) == tuple(ids)
    assert parse_block_list(b"<BlockList/>") == ()


@pytest.mark.parametrize(
    "body",
    [
        b"<BlockList><Latest><Latest>QQ==</Latest></Latest></BlockList>",
        b"<BlockList><Latest>QQ==<b/></Latest></BlockList>",
        b"<BlockList><Oldest>QQ==</Oldest></BlockList>",
        b"<BlockList><BlockList/></BlockList>",
        b"<Latest>QQ==</Latest>",
        b'<BlockList a="b"><Latest>QQ==</Latest></BlockList>',
        b'<BlockList><Latest a="b">QQ==</Latest></BlockList>',
        b"<BlockList>QQ==<Latest>QQ==</Latest></BlockList>",
        b"<BlockList><Latest>QQ==</Latest>x</BlockList>",
        b"<BlockList><Latest>no base64!</Latest></BlockList>",
        b"<BlockList><Latest/></BlockList>",
        b"<BlockList><Latest>QQ ==</Latest></BlockList>",
        b"<BlockList><Latest>" + b"QUFB" * 22 + b"</Latest></BlockList>",
        b"<BlockList><Latest>QQ==" + b"\n" * SIZE + b"</Latest></BlockList>",
        b"<!DOCTYPE BlockList [<!ELEMENT BlockList ANY>]><BlockList><Latest>QQ==</Latest></BlockList>",
        b"<BlockList><Latest>QQ==</Latest></BlockList><BlockList/>",
        b"<BlockList><Latest>QQ==</Latest>",
        b"",
    ],
    ids=lambda body: body[:60].decode(),
)
def test_malformed_block_list_is_refused(body: bytes):
    with pytest.raises(InvalidRequest):
        parse_block_list(body)


def test_block_list_size_is_bounded_as_in_azure():
    assert len(parse_block_list(b"<BlockList>" + b"<Latest>QQ==</Latest>" * MAX_BLOCKS + b"</BlockList>")) == MAX_BLOCKS
    with pytest.raises(TooLarge):
        parse_block_list(b"<BlockList>" + b"<Latest>QQ==</Latest>" * (MAX_BLOCKS + 1) + b"</BlockList>")


PIECES = [b"<a>", b"<Latest>", b"<Latest>QQ==</Latest><a/>", b"<a b='c'/>", b"<Latest>QQ==</Latest>"]


@pytest.mark.parametrize("piece", [*PIECES, b"text ", b"<!---->", b"\n"])
def test_hostile_block_list_uses_little_memory(piece: bytes):
    body = b"<BlockList>" + piece * (SIZE // len(piece))
    tracemalloc.start()
    try:
        with pytest.raises((InvalidRequest, TooLarge)):
            parse_block_list(body)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 16 * MIB
