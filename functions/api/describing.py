"""Answers HEAD requests for download URLs.

The download function handles only GET: it streams, and streamed answers without a body have been reported never to end
(https://github.com/awslabs/aws-lambda-web-adapter/issues/499).
"""

from fastapi import APIRouter, Request, Response

from actions_cache.domain.signed_url import Direction
from actions_cache.web.app import signed
from actions_cache.web.contents import check_if_match, content_headers
from actions_cache.wiring.data import DataPlane


def routes(data: DataPlane) -> APIRouter:
    router = APIRouter()

    @router.head("/blobs/download/{archive}", dependencies=[signed(data.control.urls, Direction.DOWNLOAD)])
    async def describe(archive: str, request: Request) -> Response:
        content = await data.download.describe(archive)
        check_if_match(request, content)
        return Response(headers=content_headers(content))

    return router
