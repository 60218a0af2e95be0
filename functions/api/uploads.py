"""The upload half of the blob dialect: Put Blob, Put Block, Put and Get Block List, Append Blob."""

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from actions_cache.domain.commit import MAX_PART_BYTES
from actions_cache.domain.errors import InvalidRequest
from actions_cache.domain.layout import ArchiveKeys
from actions_cache.domain.signed_url import Direction
from actions_cache.web import azure
from actions_cache.web.app import respond, signed
from actions_cache.wiring.data import DataPlane
from actions_cache.wiring.requests import Requests
from functions.api.block_list import parse_block_list, render_block_list
from functions.api.bodies import LAMBDA_BODY_BYTES, read_body

APPEND_POSITION = "x-ms-blob-condition-appendpos"
WRONG_APPEND_SIZE = "create an append blob with no bytes; append one at least"


def routes(control: Requests, data: DataPlane) -> APIRouter:
    router = APIRouter()

    @router.put("/blobs/upload/{archive}", dependencies=[signed(control.urls, Direction.UPLOAD)])
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
                await run_in_threadpool(control.seal, archive)
                return answered(f'"{archive}"', 200)
            case _:
                raise InvalidRequest(f"comp={comp} isn't supported; it may be block, blocklist, appendblock or seal")

    @router.get("/blobs/upload/{archive}", dependencies=[signed(control.urls, Direction.UPLOAD)])
    async def get_block_list(archive: str, request: Request) -> Response:
        if request.query_params.get("comp", "").lower() != "blocklist":
            message = "an upload URL can't be read from; ask the cache service for a download URL"
            return respond(azure.error(405, "UnsupportedHttpVerb", message))
        wanted = request.query_params.get("blocklisttype", "committed").lower()
        blocks = await run_in_threadpool(control.list_blocks, archive)
        size = sum(block.size for block in blocks.committed)
        headers = {**azure.blob_headers(f'"{archive}"', control.clock.now()), "x-ms-blob-content-length": str(size)}
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
        part = await data.receive_part(archive, block_id, size, request.stream())
        return answered(part.etag)

    async def create_append_blob(archive: str, request: Request) -> Response:
        size = _announced_size(request)
        if isinstance(size, Response):
            return size
        if size:
            return respond(azure.error(400, "InvalidHeaderValue", WRONG_APPEND_SIZE))
        part = await data.receive_part.new_append(archive)
        return answered(part.etag)

    async def append_block(archive: str, request: Request) -> Response:
        """On AWS the edge does this; here it is for what asks the API itself."""
        size = _announced_size(request)
        if isinstance(size, Response):
            return size
        if not size:
            return respond(azure.error(400, "InvalidHeaderValue", WRONG_APPEND_SIZE))
        offset = request.headers.get(APPEND_POSITION)
        part = await data.receive_part.appended(archive, offset, size, request.stream())
        answer = answered(part.etag)
        answer.headers["x-ms-blob-append-offset"] = str(ArchiveKeys(archive).offset_of_appended(part.key) or 0)
        return answer

    async def put_block_list(archive: str, request: Request) -> Response:
        block_ids = parse_block_list(await read_body(request, LAMBDA_BODY_BYTES))
        await run_in_threadpool(control.commit_blocks, archive, block_ids)
        return answered(f'"{archive}"')

    def answered(etag: str, status: int = 201) -> Response:
        """201 but for a seal: the JavaScript client takes 200 for an error."""
        return Response(
            status_code=status,
            headers={
                **azure.blob_headers(etag, control.clock.now()),
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
