"""Request bodies, read up to a limit and no further."""

from starlette.requests import Request

from actions_cache.domain.errors import TooLarge


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
