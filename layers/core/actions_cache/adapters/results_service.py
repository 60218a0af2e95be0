"""GitHub's results service, asked in a job's place: aiohttp for the connection."""

import io
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp
from yarl import URL

from actions_cache.adapters.http_faults import in_words

RawHeaders = Sequence[tuple[bytes, bytes]]

CONNECT_SECONDS = 5
TOTAL_SECONDS = 20
"""Connection, request and answer together. API Gateway gives up at 29 s, and a cold start may come before."""

MAX_HEADER_BYTES = 64 * 1024
"""Of one header of the answer's; aiohttp's 8 KB are less than some services send."""


class NoAnswer(Exception):
    """The service is down, slow, or said what isn't HTTP. Whether it did what it was asked is unknown."""


class AnswerTooLarge(Exception):
    """The answer has more bytes than can be passed on."""


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """As it came: nothing decompressed, no redirect followed, repeated headers repeated."""

    status: int
    headers: RawHeaders
    body: bytes


@dataclass(frozen=True, slots=True)
class ResultsService:
    """The one service that requests are passed on to.

    Args:
        url: `scheme://host` or `scheme://host:port`. No request goes anywhere else.
        trust: whose certificates are good; None: public authorities'.
    """

    url: str
    trust: ssl.SSLContext | None = None

    async def ask(
        self, method: str, target: tuple[str, str], headers: RawHeaders, body: bytes, max_answer_bytes: int
    ) -> RawAnswer:
        """One request, sent once.

        Args:
            method: any.
            target: path and query, of visible ASCII characters, and sent so; the path begins with a slash.
            headers: all but Host and Content-Length, in UTF-8.
            body: empty for none.
            max_answer_bytes: of the answer's body.

        Raises:
            NoAnswer: see there.
            AnswerTooLarge: as soon as it is known.
        """
        origin, (path, query) = URL(self.url), target
        # Built from its pieces: as one text, a path could end up as a host.
        url = URL.build(scheme=origin.scheme, authority=origin.authority, path=path, query_string=query, encoded=True)
        sent = [(name.decode("latin-1"), value.decode()) for name, value in headers]
        try:
            async with (
                _new_session() as session,
                session.request(
                    method,
                    url,
                    headers=sent,
                    data=io.BytesIO(body) if body else None,
                    allow_redirects=False,
                    ssl=self.trust or True,
                ) as answer,
            ):
                return RawAnswer(answer.status, answer.raw_headers, await _read(answer, max_answer_bytes))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoAnswer(in_words(error)) from error


async def _read(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > limit:
            raise AnswerTooLarge
    return bytes(body)


def _new_session() -> aiohttp.ClientSession:
    """One for each request.

    A Lambda is frozen between two: a kept connection would be dead when the next one is sent on it, and what isn't
    idempotent can't be sent again. And a session's cookies would be every job's.
    """
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=TOTAL_SECONDS, sock_connect=CONNECT_SECONDS),
        auto_decompress=False,
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
    )
