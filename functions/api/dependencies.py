"""The parameters that routes share: services, the job's caller, archives named by signed URLs, bounded bodies.

All dependencies are coroutines, since FastAPI runs others in a thread of their own.
"""

from typing import Annotated

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from actions_cache import logs
from actions_cache.domain.access import Caller
from actions_cache.domain.errors import TooLarge
from actions_cache.domain.refused_job import NotAdmitted
from actions_cache.domain.signing import Direction
from actions_cache.http.app import check_signed_url
from functions.api.services import ApiServices
from functions.api.tokens import TokenReader


async def get_services(request: Request) -> ApiServices:
    services: ApiServices = request.app.state.services
    return services


async def get_tokens(request: Request) -> TokenReader:
    tokens: TokenReader = request.app.state.tokens
    return tokens


Services = Annotated[ApiServices, Depends(get_services)]
Tokens = Annotated[TokenReader, Depends(get_tokens)]


async def get_caller(request: Request, tokens: Tokens) -> Caller:
    """Return the caller that the request's token names."""
    return await read_caller(request, tokens, writes=request.method != "GET")


async def read_caller(request: Request, tokens: TokenReader, *, writes: bool) -> Caller:
    """Return the caller that the request's token names, and log its repository from here on.

    Args:
        request: the request.
        tokens: decides which tokens are accepted.
        writes: whether the request writes, so that its refusal says so.

    Raises:
        Unauthenticated: the token is missing or isn't good.
        NotAdmitted: this server isn't for the token's job.
        TryAgain: the issuer's keys can't be fetched now.
    """
    try:
        caller = await run_in_threadpool(tokens.read, request.headers.get("authorization"))
    except NotAdmitted as refusal:
        raise (refusal.of_a_write if writes else refusal) from None
    logs.append(repository=caller.repository)
    return caller


JobCaller = Annotated[Caller, Depends(get_caller)]


async def get_upload(archive: str, request: Request, services: Services) -> str:
    """Return the id of the archive that a signed upload URL names."""
    await check_signed_url(request, services.urls, Direction.UPLOAD, archive)
    return archive


async def get_download(archive: str, request: Request, services: Services) -> str:
    """Return the id of the archive that a signed download URL names."""
    await check_signed_url(request, services.urls, Direction.DOWNLOAD, archive)
    return archive


SignedUpload = Annotated[str, Depends(get_upload)]
SignedDownload = Annotated[str, Depends(get_download)]

MAX_MESSAGE_BYTES = 256 * 1024
"""Size of the largest JSON or protobuf message that is read. More: messages of more restore keys; less: a stranger's
message takes less memory."""

LAMBDA_BODY_BYTES = 4_500_000
"""Size of the largest body that fits, as base64, into the 6 MB of Lambda's requests and answers."""


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body.

    Raises:
        TooLarge: it has more than `limit` bytes; raised as soon as that is known.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise TooLarge(f"the body has {announced} bytes; at most {limit} are allowed")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise TooLarge(f"the body has more than {limit} bytes; no more are allowed")
    return bytes(body)
