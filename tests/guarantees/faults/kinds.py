"""Faults of one request to the store: each is a function of the exchange, and returns the client's answer.

A fault after a number of bytes leaves alone an answer whose body has no more than those.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from dev.emulation.proxy import broken, end_to_end, passed_on

TICK_SECONDS = 0.05


@dataclass(frozen=True)
class Exchange:
    """Holds a request, and how to have it answered by the real store."""

    request: web.Request
    answer: Callable[[], AbstractAsyncContextManager[aiohttp.ClientResponse]]


Fault = Callable[[Exchange], Awaitable[web.StreamResponse]]


async def works(exchange: Exchange) -> web.StreamResponse:
    """Answer without a fault."""
    async with exchange.answer() as answer:
        return await passed_on(exchange.request, answer)


def answers(status: int, code: str) -> Fault:
    """Refuse as S3 does; the store never hears of the request."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>made up by a test</Message></Error>"

    async def answer(exchange: Exchange) -> web.StreamResponse:
        await exchange.request.read()
        return web.Response(status=status, content_type="application/xml", text=body)

    return answer


SLOW_DOWN = answers(503, "SlowDown")
INTERNAL_ERROR = answers(500, "InternalError")
MISSING = answers(404, "NoSuchKey")


def reset_after(size: int) -> Fault:
    """Send this much of the body, and then reset the connection (TCP RST)."""

    async def reset(exchange: Exchange) -> web.StreamResponse:
        async with _begun(exchange) as (response, chunks):
            if await _cut(response, chunks, size) and exchange.request.transport is not None:
                exchange.request.transport.abort()
        return response

    return reset


def ends_after(size: int) -> Fault:
    """Send this much of the body under headers that announce all of it, and then end in order (TCP FIN)."""

    async def end(exchange: Exchange) -> web.StreamResponse:
        async with _begun(exchange) as (response, chunks):
            is_cut = await _cut(response, chunks, size)
        return broken(exchange.request) if is_cut else response

    return end


def stalls_after(size: int) -> Fault:
    """Send this much of the body, and then nothing for as long as the client waits."""

    async def stall(exchange: Exchange) -> web.StreamResponse:
        async with _begun(exchange) as (response, chunks):
            if not await _cut(response, chunks, size):
                return response
            while exchange.request.transport is not None and not exchange.request.transport.is_closing():  # noqa: ASYNC110 - the client's going is no event
                await asyncio.sleep(TICK_SECONDS)
        return response

    return stall


def slow(bytes_per_second: int) -> Fault:
    """Send the body at this rate."""

    async def trickle(exchange: Exchange) -> web.StreamResponse:
        async with _begun(exchange) as (response, chunks):
            async for chunk in chunks:
                step = max(1, int(bytes_per_second * TICK_SECONDS))
                for start in range(0, len(chunk), step):
                    await response.write(chunk[start : start + step])
                    await asyncio.sleep(TICK_SECONDS)
        return response

    return trickle


def other_bytes(at: int) -> Fault:
    """Flip one bit of the body's byte `at`; status, length and ETag are right."""

    async def flip(exchange: Exchange) -> web.StreamResponse:
        async with _begun(exchange) as (response, chunks):
            offset = 0
            async for chunk in chunks:
                if offset <= at < offset + len(chunk):
                    flipped = bytearray(chunk)
                    flipped[at - offset] ^= 1
                    await response.write(bytes(flipped))
                else:
                    await response.write(chunk)
                offset += len(chunk)
        return response

    return flip


class _begun:  # noqa: N801 - used as a function
    """Passes on the headers of the store's answer, but not its body yet."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._answer = exchange.answer()

    async def __aenter__(self) -> tuple[web.StreamResponse, AsyncIterator[bytes]]:
        answer = await self._answer.__aenter__()
        response = web.StreamResponse(status=answer.status, headers=end_to_end(answer.headers))
        await response.prepare(self._exchange.request)
        return response, answer.content.iter_any()

    async def __aexit__(self, *error: object) -> None:
        await self._answer.__aexit__(None, None, None)


async def _cut(response: web.StreamResponse, chunks: AsyncIterator[bytes], size: int) -> bool:
    """Pass on this many bytes, and return whether there were more; a body that isn't longer is passed on whole."""
    async for chunk in chunks:
        if len(chunk) > size:
            await response.write(chunk[:size])
            return True
        await response.write(chunk)
        size -= len(chunk)
    return False
