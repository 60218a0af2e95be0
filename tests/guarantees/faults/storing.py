"""UploadPart and UploadPartCopy as S3 answers them, by a store that takes the right bytes or others.

SeaweedFS answers a copy of more than 4 MiB with an ETag made of its chunks' MD5s, which says nothing about the part.
So these copy by a GET and an UploadPart of their own, which SeaweedFS answers with the MD5 as S3 does.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import unquote

import boto3
from aiohttp import web

from actions_cache.domain.checksum import etag_of
from dev.local.emulators import Endpoints
from tests.guarantees.faults.kinds import Exchange, Fault
from tests.guarantees.faults.store import copies

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Change = Callable[[bytes], bytes]


def same(body: bytes) -> bytes:
    return body


def one_bit(body: bytes) -> bytes:
    """Of another length there is nothing to prove: sizes are checked."""
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]


def stores(change: Change, endpoints: Endpoints, *, denies: bool = False) -> Fault:
    """What is uploaded or copied is changed on its way into the store.

    Args:
        change: of the bytes.
        endpoints: of the real store.
        denies: whether the answer has the ETag of the right bytes, and not of those that are stored.
    """
    s3 = _client(endpoints)

    async def store(exchange: Exchange) -> web.StreamResponse:
        request = exchange.request
        sent = await request.content.read()
        right, etag = await asyncio.to_thread(_store, s3, request, sent, change)
        named = right if denies else etag
        if not copies(request):
            return web.Response(headers={"ETag": named})
        body = f"<?xml version='1.0'?><CopyPartResult><ETag>{named}</ETag></CopyPartResult>"
        return web.Response(content_type="application/xml", text=body)

    return store


def _client(endpoints: Endpoints) -> "S3Client":
    keys = endpoints.credentials
    return boto3.client(
        "s3",
        endpoint_url=endpoints.store,
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key,
        region_name=endpoints.region,
    )


def _store(s3: "S3Client", request: web.Request, sent: bytes, change: Change) -> tuple[str, str]:
    """The ETags of the right bytes and of those stored."""
    bucket, _, key = request.path.removeprefix("/").partition("/")
    if copies(request):
        _, _, source = unquote(request.headers["x-amz-copy-source"]).removeprefix("/").partition("/")
        wanted = request.headers.get("x-amz-copy-source-range", "bytes=0-")
        right = s3.get_object(Bucket=bucket, Key=source, Range=wanted)["Body"].read()
    else:
        right = sent
    stored = s3.upload_part(
        Bucket=bucket,
        Key=key,
        UploadId=request.query["uploadId"],
        PartNumber=int(request.query["partNumber"]),
        Body=change(right),
    )
    return etag_of([right]), stored["ETag"]
