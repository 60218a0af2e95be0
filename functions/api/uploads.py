"""Serve Azure's blob uploads: blocks, block lists, append blobs (docs/design/protocol.md#uploads).

HEAD requests for downloads are answered here too.
"""

from collections.abc import Iterable, Mapping
from typing import cast
from xml.etree import ElementTree as ET

from defusedxml import DefusedXmlException, ElementTree
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from actions_cache.domain.errors import InvalidRequest, TooLarge
from actions_cache.domain.object_keys import MAX_BLOCK_ID_BYTES, ArchiveKeys, check_block_id
from actions_cache.domain.uploads import MAX_BLOCKS, MAX_PART_BYTES
from actions_cache.http.errors import AZURE, respond
from actions_cache.http.headers import blob_headers, check_if_match, content_headers
from actions_cache.save import Block, Blocks
from functions.api.dependencies import LAMBDA_BODY_BYTES, Services, SignedDownload, SignedUpload, read_body
from functions.api.services import ApiServices

router = APIRouter()


@router.put("/blobs/upload/{archive}")
async def upload(archive: SignedUpload, request: Request, services: Services) -> Response:
    comp = request.query_params.get("comp")
    match comp and comp.lower():
        case None:
            return await put_blob(services, archive, request)
        case "block":
            return await put_part(services, archive, block_id_of(request), request)
        case "blocklist":
            return await put_block_list(services, archive, request)
        case "appendblock":
            return await append_block(services, archive, request)
        case "seal":
            await run_in_threadpool(services.commit.seal, archive)
            return _stored(services, f'"{archive}"', 200)
        case _:
            raise InvalidRequest(f"comp={comp} isn't supported; it may be block, blocklist, appendblock or seal")


@router.get("/blobs/upload/{archive}")
async def get_block_list(archive: SignedUpload, request: Request, services: Services) -> Response:
    if request.query_params.get("comp", "").lower() != "blocklist":
        message = "an upload URL can't be read from; ask the cache service for a download URL"
        return respond(AZURE.error(405, "UnsupportedHttpVerb", message))
    wanted = request.query_params.get("blocklisttype", "committed").lower()
    blocks = await run_in_threadpool(services.list_blocks, archive)
    size = sum(block.size for block in blocks.committed)
    headers = {**blob_headers(f'"{archive}"', services.clock.now()), "x-ms-blob-content-length": str(size)}
    return Response(render_block_list(blocks, wanted), headers=headers, media_type="application/xml")


@router.head("/blobs/download/{archive}")
async def describe(archive: SignedDownload, request: Request, services: Services) -> Response:
    """Return an archive's headers.

    The download function has no route for HEAD: it streams, and streamed answers without a body have been reported
    never to end (https://github.com/awslabs/aws-lambda-web-adapter/issues/499).
    """
    content = await services.downloads.download.describe(archive)
    check_if_match(request, content)
    return Response(headers=content_headers(content))


# ---------------------------------------------------------------- one PUT

APPEND_POSITION = "x-ms-blob-condition-appendpos"
WRONG_APPEND_SIZE = "create an append blob with no bytes; append one at least"


async def put_blob(services: ApiServices, archive: str, request: Request) -> Response:
    blob_type = request.headers.get("x-ms-blob-type", "BlockBlob")
    match blob_type.lower():
        case "blockblob":
            return await put_part(services, archive, None, request)
        case "appendblob":
            return await create_append_blob(services, archive, request)
        case _:
            raise InvalidRequest(f"x-ms-blob-type {blob_type} isn't supported; it may be BlockBlob or AppendBlob")


async def put_part(services: ApiServices, archive: str, block_id: str | None, request: Request) -> Response:
    size = _announced_size(request)
    if isinstance(size, Response):
        return size
    part = await services.receive_part(archive, block_id, size, request.stream())
    return _stored(services, part.etag)


async def put_block_list(services: ApiServices, archive: str, request: Request) -> Response:
    block_ids = parse_block_list(await read_body(request, LAMBDA_BODY_BYTES))
    await run_in_threadpool(services.commit.block_list, archive, block_ids)
    return _stored(services, f'"{archive}"')


async def create_append_blob(services: ApiServices, archive: str, request: Request) -> Response:
    size = _announced_size(request)
    if isinstance(size, Response):
        return size
    if size:
        return respond(AZURE.error(400, "InvalidHeaderValue", WRONG_APPEND_SIZE))
    part = await services.receive_part.new_append(archive)
    return _stored(services, part.etag)


async def append_block(services: ApiServices, archive: str, request: Request) -> Response:
    """Append a block. On AWS the edge does this; this is for clients that send to the API itself."""
    size = _announced_size(request)
    if isinstance(size, Response):
        return size
    if not size:
        return respond(AZURE.error(400, "InvalidHeaderValue", WRONG_APPEND_SIZE))
    offset = request.headers.get(APPEND_POSITION)
    part = await services.receive_part.appended(archive, offset, size, request.stream())
    answer = _stored(services, part.etag)
    answer.headers["x-ms-blob-append-offset"] = str(ArchiveKeys(archive).offset_of_appended(part.key) or 0)
    return answer


def block_id_of(request: Request) -> str:
    """Return the block id.

    An unescaped `+` arrives as a space, which base64 doesn't have; the edge reads it as `+` too.
    """
    return request.query_params.get("blockid", "").replace(" ", "+")


def _announced_size(request: Request) -> int | Response:
    """Return the size that a part announces, or the answer that refuses it."""
    size = request.headers.get("content-length")
    if size is None or not size.isdecimal():
        return respond(AZURE.error(411, "MissingContentLengthHeader", "send the size as Content-Length"))
    if int(size) > MAX_PART_BYTES:
        message = f"one PUT may have {MAX_PART_BYTES} bytes; send more as blocks"
        return respond(AZURE.error(413, "RequestBodyTooLarge", message))
    return int(size)


def _stored(services: ApiServices, etag: str, status: int = 201) -> Response:
    """Return the answer to a write: 201, but 200 for a seal; the JavaScript client takes 200 for an error elsewhere."""
    headers = {**blob_headers(etag, services.clock.now()), "x-ms-request-server-encrypted": "true"}
    return Response(status_code=status, headers=headers)


# ---------------------------------------------------------------- block lists

_ID_TAGS = frozenset({"Latest", "Uncommitted", "Committed"})
"""Tags that tell Azure where to look for a block. Here a block is its last arrival, so they mean the same."""

NOT_A_LIST = "the body must be a <BlockList> of <Latest>, <Uncommitted> or <Committed> block ids, and nothing else"

CHUNK_BYTES = 64 * 1024
"""Size of the chunks in which a list is parsed; nothing after a chunk with an error is parsed."""

MAX_ID_CHARACTERS = 4 * MAX_BLOCK_ID_BYTES
"""More than twice the length of an id in base64, which leaves room for blanks behind it."""


def parse_block_list(body: bytes) -> tuple[str, ...]:
    """Return the block ids, in order.

    Memory is bounded by the list's length: anything that doesn't belong in a block list is refused where it begins, so
    neither depth nor names nor attributes pile up.

    Raises:
        InvalidRequest: the body isn't a block list.
        TooLarge: it has more blocks than Azure allows.
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
    """Return the list as XML.

    Args:
        blocks: the upload's blocks.
        wanted: `committed`, `uncommitted` or `all`.

    Raises:
        InvalidRequest: `wanted` is another word.
    """
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
