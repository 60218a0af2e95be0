"""The XML of a Put Block List."""

from defusedxml import DefusedXmlException, ElementTree

from actions_cache.domain.errors import InvalidRequest

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
