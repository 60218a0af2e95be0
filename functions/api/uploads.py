"""Serve Azure's blob uploads: blocks, block lists, append blobs (docs/design/protocol.md#uploads)."""

from collections.abc import Iterable, Mapping
from typing import cast
from xml.etree import ElementTree as ET

from defusedxml import DefusedXmlException, ElementTree
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from actions_cache.domain.errors import InvalidRequest, TooLarge
from actions_cache.domain.object_keys import MAX_BLOCK_ID_BYTES, ArchiveKeys, check_block_id
from actions_cache.domain.signing import Direction
from actions_cache.domain.uploads import MAX_BLOCKS, MAX_PART_BYTES
from actions_cache.http import azure
from actions_cache.http.app import respond, signed
from actions_cache.http.contents import check_if_match, content_headers
from actions_cache.save import Block, Blocks
from functions.api.services import ApiServices

LAMBDA_BODY_BYTES = 4_500_000
"""What of a body fits, as base64, into Lambda's 6 MB of a request or an answer."""


async def read_body(request: Request, limit: int) -> bytes:
    """Raises TooLarge as soon as the body is known to be longer than `limit` bytes."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise TooLarge(f"the body has {announced} bytes; at most {limit} are allowed")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise TooLarge(f"the body has more than {limit} bytes; no more are allowed")
    return bytes(body)


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


APPEND_POSITION = "x-ms-blob-condition-appendpos"
WRONG_APPEND_SIZE = "create an append blob with no bytes; append one at least"


def routes(services: ApiServices) -> APIRouter:
    router = APIRouter()

    @router.put("/blobs/upload/{archive}", dependencies=[signed(services.urls, Direction.UPLOAD)])
    async def upload(archive: str, request: Request) -> Response:
        comp = request.query_params.get("comp")
        match comp and comp.lower():
            case None:
                return await put_part(archive, None, request)
            case "block":
                return await put_part(archive, block_id_of(request), request)
            case "blocklist":
                return await put_block_list(archive, request)
            case "appendblock":
                return await append_block(archive, request)
            case "seal":
                await run_in_threadpool(services.commit.seal, archive)
                return answered(f'"{archive}"', 200)
            case _:
                raise InvalidRequest(f"comp={comp} isn't supported; it may be block, blocklist, appendblock or seal")

    @router.get("/blobs/upload/{archive}", dependencies=[signed(services.urls, Direction.UPLOAD)])
    async def get_block_list(archive: str, request: Request) -> Response:
        if request.query_params.get("comp", "").lower() != "blocklist":
            message = "an upload URL can't be read from; ask the cache service for a download URL"
            return respond(azure.error(405, "UnsupportedHttpVerb", message))
        wanted = request.query_params.get("blocklisttype", "committed").lower()
        blocks = await run_in_threadpool(services.list_blocks, archive)
        size = sum(block.size for block in blocks.committed)
        headers = {**azure.blob_headers(f'"{archive}"', services.clock.now()), "x-ms-blob-content-length": str(size)}
        return Response(render_block_list(blocks, wanted), headers=headers, media_type="application/xml")

    async def put_part(archive: str, block_id: str | None, request: Request) -> Response:
        blob_type = request.headers.get("x-ms-blob-type", "BlockBlob")
        if block_id is None and blob_type.lower() == "appendblob":
            return await create_append_blob(archive, request)
        if block_id is None and blob_type.lower() != "blockblob":
            raise InvalidRequest(f"x-ms-blob-type {blob_type} isn't supported; it may be BlockBlob or AppendBlob")
        size = _announced_size(request)
        if isinstance(size, Response):
            return size
        part = await services.receive_part(archive, block_id, size, request.stream())
        return answered(part.etag)

    async def create_append_blob(archive: str, request: Request) -> Response:
        size = _announced_size(request)
        if isinstance(size, Response):
            return size
        if size:
            return respond(azure.error(400, "InvalidHeaderValue", WRONG_APPEND_SIZE))
        part = await services.receive_part.new_append(archive)
        return answered(part.etag)

    async def append_block(archive: str, request: Request) -> Response:
        """On AWS the edge does this; here it is for what asks the API itself."""
        size = _announced_size(request)
        if isinstance(size, Response):
            return size
        if not size:
            return respond(azure.error(400, "InvalidHeaderValue", WRONG_APPEND_SIZE))
        offset = request.headers.get(APPEND_POSITION)
        part = await services.receive_part.appended(archive, offset, size, request.stream())
        answer = answered(part.etag)
        answer.headers["x-ms-blob-append-offset"] = str(ArchiveKeys(archive).offset_of_appended(part.key) or 0)
        return answer

    async def put_block_list(archive: str, request: Request) -> Response:
        block_ids = parse_block_list(await read_body(request, LAMBDA_BODY_BYTES))
        await run_in_threadpool(services.commit.block_list, archive, block_ids)
        return answered(f'"{archive}"')

    def answered(etag: str, status: int = 201) -> Response:
        """201 but for a seal: the JavaScript client takes 200 for an error."""
        return Response(
            status_code=status,
            headers={
                **azure.blob_headers(etag, services.clock.now()),
                "x-ms-request-server-encrypted": "true",
            },
        )

    return router


def block_id_of(request: Request) -> str:
    """Return the block id.

    An unescaped `+` arrives as a space, which base64 doesn't have; the edge reads it as `+` too.
    """
    return request.query_params.get("blockid", "").replace(" ", "+")


def _announced_size(request: Request) -> int | Response:
    """What a part announces, or the refusal of it."""
    size = request.headers.get("content-length")
    if size is None or not size.isdecimal():
        return respond(azure.error(411, "MissingContentLengthHeader", "send the size as Content-Length"))
    if int(size) > MAX_PART_BYTES:
        message = f"one PUT may have {MAX_PART_BYTES} bytes; send more as blocks"
        return respond(azure.error(413, "RequestBodyTooLarge", message))
    return int(size)


def head_routes(services: ApiServices) -> APIRouter:
    router = APIRouter()

    @router.head("/blobs/download/{archive}", dependencies=[signed(services.urls, Direction.DOWNLOAD)])
    async def describe(archive: str, request: Request) -> Response:
        content = await services.downloads.download.describe(archive)
        check_if_match(request, content)
        return Response(headers=content_headers(content))

    return router
