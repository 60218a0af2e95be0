"""Bytes between a client and S3, as they come; botocore signs the requests."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from http import HTTPStatus

import aiohttp

from actions_cache.adapters.aws import answers, note_denied
from actions_cache.adapters.http_faults import in_words
from actions_cache.adapters.s3_connections import (
    MAX_CONNECTIONS,
    READ_BUFFER_BYTES,
    Connection,
    ConnectionBroken,
    Connections,
)
from actions_cache.adapters.s3_signing import S3Signer
from actions_cache.domain.archive import OCTET_STREAM, Part
from actions_cache.domain.part_range import PartRange
from actions_cache.ports import Chunk, ObjectGone, Unavailable

MOST_SAID = 4096
"""Bytes of a refusal's body that are kept; S3's have some 300."""

ACCESS_DENIED = "<Code>AccessDenied</Code>"


class S3Stream:
    """See ports.PartReader and ports.PartWriter."""

    def __init__(self, signer: S3Signer) -> None:
        self._signer = signer
        self._session: aiohttp.ClientSession | None = None
        self._reading: Connections | None = None

    async def read(self, source: PartRange) -> AsyncGenerator[Chunk, None]:
        headers = {"If-Match": source.part.etag}
        if not source.is_whole:
            headers["Range"] = f"bytes={source.start}-{source.end - 1}"
        with answers():
            url, headers = self._signer.signed("GET", source.part.key, headers)
        if self._reading is None:
            self._reading = Connections()
        try:
            async with self._reading.get(url, headers) as answer:
                if answer.status in (HTTPStatus.NOT_FOUND, HTTPStatus.PRECONDITION_FAILED):
                    raise ObjectGone(source.part)
                if (
                    answer.status != (HTTPStatus.OK if source.is_whole else HTTPStatus.PARTIAL_CONTENT)
                    or answer.size != source.size
                ):
                    said = await _said(answer)
                    if answer.status == HTTPStatus.FORBIDDEN and ACCESS_DENIED in said:
                        note_denied("GetObject", said)
                    raise Unavailable(f"GET {source.part.key}: {answer.status}, {answer.size} bytes {said}")
                async with aclosing(answer.body()) as chunks:
                    async for chunk in chunks:
                        yield chunk
        except ConnectionBroken as error:
            raise Unavailable(f"GET {source.part.key}: {error}") from error

    async def write(self, key: str, size: int, body: AsyncIterator[bytes]) -> Part:
        with answers():
            url, headers = self._signer.signed("PUT", key, {"Content-Length": str(size), "Content-Type": OCTET_STREAM})
        sent = SentBody(body)
        try:
            # A redirect would send the other host what was signed for this one.
            async with self._connections().put(
                url, headers=headers, data=sent.chunks(), allow_redirects=False
            ) as answer:
                if answer.status == HTTPStatus.OK and sent.fault is None and "ETag" in answer.headers:
                    return Part(key, size, answer.headers["ETag"])
                said = (await answer.content.read(MOST_SAID)).decode(errors="replace")
                if answer.status == HTTPStatus.FORBIDDEN and ACCESS_DENIED in said:
                    note_denied("PutObject", said)
                fault = f"{answer.status} {said}"
        except (aiohttp.ClientError, OSError) as error:
            fault = in_words(error)
        raise sent.fault or Unavailable(f"PUT {key}: {fault}")

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.close()
        if self._session is not None:
            await self._session.close()

    def _connections(self) -> aiohttp.ClientSession:
        """Made with the first request: a session belongs to the loop that runs it."""
        if self._session is None:
            self._session = new_connections()
        return self._session


class SentBody:
    """Records why a request's body ended early: aiohttp reports any error in it as one of the connection."""

    def __init__(self, body: AsyncIterator[bytes]) -> None:
        self.fault: Exception | None = None
        self._body = body

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._body:
                yield chunk
        except Exception as fault:
            self.fault = fault
            raise


async def _said(answer: Connection) -> str:
    """Return the beginning of the store's error message, without bytes of any other kind."""
    if answer.status < HTTPStatus.BAD_REQUEST or answer.size > MOST_SAID:
        return ""
    return b"".join([bytes(chunk) async for chunk in answer.body()]).decode(errors="replace")


def new_connections(limit: int = MAX_CONNECTIONS) -> aiohttp.ClientSession:
    """To the store, of the running loop. Nothing is added to a request, and nothing of an answer is changed.

    Args: limit: of connections; 0 for none.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=limit),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
        read_bufsize=READ_BUFFER_BYTES,
        auto_decompress=False,
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
    )
