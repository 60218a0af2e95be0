"""Request bodies, read up to a limit and no further."""

from starlette.requests import Request

from actions_cache.domain.errors import TooLarge

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
