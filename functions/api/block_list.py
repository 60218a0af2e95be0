"""The XML of block lists: as they are put, and as they are got."""

from collections.abc import Iterable, Mapping
from typing import cast
from xml.etree import ElementTree as ET

from defusedxml import DefusedXmlException, ElementTree

from actions_cache.domain.commit import MAX_BLOCKS
from actions_cache.domain.errors import InvalidRequest, TooLarge
from actions_cache.domain.layout import MAX_BLOCK_ID_BYTES, check_block_id
from actions_cache.usecases.list_blocks import Block, Blocks

_ID_TAGS = frozenset({"Latest", "Uncommitted", "Committed"})
"""Where Azure looks for the block. Here a block is what arrived last, so they mean the same."""

NOT_A_LIST = "the body must be a <BlockList> of <Latest>, <Uncommitted> or <Committed> block ids, and nothing else"


CHUNK_BYTES = 64 * 1024
"""Size of the pieces in which a list is parsed; nothing after the piece with a fault is parsed."""

MAX_ID_CHARACTERS = 4 * MAX_BLOCK_ID_BYTES
"""More than twice what base64 makes of an id, which leaves room for blanks behind it."""


def parse_block_list(body: bytes) -> tuple[str, ...]:
    """Return the block ids, in order.

    Memory is bounded by the list's length: anything that doesn't belong in a block list is refused where it begins, so
    neither depth nor names nor attributes pile up.

    Raises:
        InvalidRequest: not a block list.
        TooLarge: more blocks than Azure allows.
    """
    parser = ElementTree.XMLParser(target=_BlockIds(), forbid_dtd=True)
    try:
        for start in range(0, len(body), CHUNK_BYTES):
            parser.feed(body[start : start + CHUNK_BYTES])
        ids = cast("tuple[str, ...]", parser.close())
    except (ElementTree.ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise InvalidRequest(f"the block list isn't well-formed XML: {str(error)[:200]}") from error
    return ids


class _BlockIds:
    """Collects block ids from the parser's callbacks."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._open: list[str] = []
        self._text = ""

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if attributes or not (tag == "BlockList" if not self._open else len(self._open) == 1 and tag in _ID_TAGS):
            raise InvalidRequest(NOT_A_LIST)
        if len(self._ids) == MAX_BLOCKS and self._open:
            raise TooLarge(f"the block list names more than {MAX_BLOCKS} blocks; no more are allowed")
        self._open.append(tag)
        self._text = ""

    def data(self, text: str) -> None:
        """Take a piece of text of any length; blanks around an id, and between ids, mean nothing."""
        self._text = (self._text + text).lstrip()
        if len(self._open) == 1 and self._text:
            raise InvalidRequest(NOT_A_LIST)
        if len(self._text) > MAX_ID_CHARACTERS:
            raise InvalidRequest(
                f"the block id {self._text[:100]!r} is too long; 1 to {MAX_BLOCK_ID_BYTES} bytes are allowed"
            )

    def end(self, tag: str) -> None:
        self._open.pop()
        if tag in _ID_TAGS:
            block_id = self._text.rstrip()
            check_block_id(block_id)
            self._ids.append(block_id)
        self._text = ""

    def close(self) -> tuple[str, ...]:
        return tuple(self._ids)


def render_block_list(blocks: Blocks, wanted: str) -> bytes:
    """Args: wanted: `committed`, `uncommitted` or `all`. Raises InvalidRequest for another word."""
    if wanted not in ("committed", "uncommitted", "all"):
        raise InvalidRequest(f"blocklisttype={wanted[:100]} isn't known; it may be committed, uncommitted or all")
    document = ET.Element("BlockList")
    if wanted != "uncommitted":
        _add(document, "CommittedBlocks", blocks.committed)
    if wanted != "committed":
        _add(document, "UncommittedBlocks", blocks.uncommitted)
    rendered: bytes = ET.tostring(document, encoding="utf-8", xml_declaration=True)
    return rendered


def _add(document: ET.Element, tag: str, blocks: Iterable[Block]) -> None:
    group = ET.SubElement(document, tag)
    for block in blocks:
        row = ET.SubElement(group, "Block")
        ET.SubElement(row, "Name").text = block.id
        ET.SubElement(row, "Size").text = str(block.size)
