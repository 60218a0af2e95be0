"""The XML of block lists: as they are put, and as they are got."""

from collections.abc import Iterable
from xml.etree import ElementTree as ET

from defusedxml import DefusedXmlException, ElementTree

from actions_cache.domain.errors import InvalidRequest
from actions_cache.usecases.list_blocks import Block, Blocks

_ID_TAGS = frozenset({"Latest", "Uncommitted", "Committed"})
"""Where Azure looks for the block. Here a block is what arrived last, so they mean the same."""


def parse_block_list(body: bytes) -> tuple[str, ...]:
    """The block ids, in order.

    Raises:
        InvalidRequest: not a block list.
    """
    try:
        root = ElementTree.fromstring(body)
    except (ElementTree.ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise InvalidRequest(f"the block list isn't well-formed XML: {str(error)[:200]}") from error
    if root.tag != "BlockList" or any(child.tag not in _ID_TAGS for child in root):
        raise InvalidRequest("the body must be a <BlockList> of <Latest>, <Uncommitted> or <Committed> block ids")
    return tuple((child.text or "").strip() for child in root)


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
