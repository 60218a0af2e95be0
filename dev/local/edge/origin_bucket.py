"""The bucket as an origin: whatever the functions left of a request goes there signed, as by Origin Access Control."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from actions_cache.aws.s3_stream import S3Signer, SentBody, new_connections
from dev.local.edge.event import HIDDEN, Headers

NOT_FORWARDED = frozenset({"host", "transfer-encoding", "date"})


class BucketUnreachable(Exception):
    """The connection failed, before or in the middle of an answer."""


class BucketOrigin:
    def __init__(self, signer: S3Signer) -> None:
        self._signer = signer
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def answer(
        self, method: str, uri: str, headers: Headers, body: AsyncIterator[bytes]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Return the answer, with its body not read yet.

        Raises:
            BucketUnreachable: the connection failed.
            Exception: whatever the body raises.
        """
        named = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in headers
            if name.decode("latin-1") not in NOT_FORWARDED
        }
        url, signed = self._signer.signed(method, uri.removeprefix("/"), named)
        sent = SentBody(body)
        try:
            data = sent.chunks() if method == "PUT" else None
            async with self._connections().request(
                method, url, headers=signed, data=data, allow_redirects=False
            ) as answer:
                yield answer
        except (aiohttp.ClientError, OSError) as error:
            if sent.fault is not None:
                raise sent.fault from None
            raise BucketUnreachable(repr(error)) from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _connections(self) -> aiohttp.ClientSession:
        """Made with the first request: a session belongs to the loop that runs it."""
        if self._session is None:
            # CloudFront has no such limit: clients that stall would keep the others waiting.
            self._session = new_connections(limit=0)
        return self._session


def answer_headers(answer: aiohttp.ClientResponse) -> Headers:
    return [
        (name.lower(), value)
        for name, value in answer.raw_headers
        if name.decode("latin-1").lower() not in HIDDEN | NOT_FORWARDED
    ]
