"""The edge's functions: their events, their KeyValueStore, and the Node process that runs them (runtime.mjs).

https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/functions-event-structure.html
"""

import asyncio
import base64
import json
import os
import time
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from starlette.types import Scope

from dev.local.template import ROOT

if TYPE_CHECKING:
    from mypy_boto3_cloudfront_keyvaluestore import CloudFrontKeyValueStoreClient

Headers = list[tuple[bytes, bytes]]
"""Headers as ASGI has them, their names in lower case."""

HIDDEN = frozenset(
    {"connection", "expect", "keep-alive", "proxy-authenticate", "proxy-authorization", "trailer", "upgrade"}
)
"""Headers of the connection, which no function and no origin gets to see."""

EMULATION = Path(__file__).with_name("runtime.mjs")
FUNCTIONS = {
    "viewer-request": ROOT / "functions" / "edge" / "viewer_request.js",
    "viewer-response": ROOT / "functions" / "edge" / "viewer_response.js",
}

LONGEST_LINE = 4 * 1024 * 1024
"""Most bytes of an event as JSON; a request's headers have a few kilobytes."""


FRESH_SECONDS = 5.0
"""Seconds for which the KeyValueStore's content is reused: that is how long a change takes to arrive."""


class FunctionFailed(Exception):
    """Raised when the function throws, or returns what CloudFront refuses."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class EdgeRuntime:
    """Runs functions, several at a time, in a Node process that the first call starts, and any call after it ended."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._ids = count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._key_value_store: Mapping[str, str] = {}

    async def run(self, event_type: str, event: Mapping[str, Any]) -> dict[str, Any]:
        """Return the function's result: `{"request": ..., "origin": ...}` or `{"response": ...}`.

        Raises:
            FunctionFailed: It threw, took too long, or returned what CloudFront refuses.
        """
        process = await self._started()
        number = next(self._ids)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._send(process, {"id": number, "run": event_type, "event": event})
        try:
            result: dict[str, Any] = await answer
        finally:
            self._waiting.pop(number, None)
        if "error" in result:
            raise FunctionFailed(result["error"]["status"], result["error"]["message"])
        return result

    def fill_key_value_store(self, content: Mapping[str, str]) -> None:
        """Replace the content of the KeyValueStore for all calls from now on."""
        if content != self._key_value_store:
            self._key_value_store = content
            if self._process is not None:
                self._send(self._process, {"kvs": content})

    async def close(self) -> None:
        """Close the process's input, which ends it."""
        if self._process is not None and self._process.stdin is not None and self._reader is not None:
            self._process.stdin.close()
            await self._reader

    async def _started(self) -> asyncio.subprocess.Process:
        async with self._starting:
            if self._process is None or self._process.returncode is not None:
                self._process = await self._new_process()
                self._send(self._process, {"kvs": self._key_value_store})
                self._reader = asyncio.create_task(self._read(self._process))
            return self._process

    async def _new_process(self) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(
                "node",
                str(EMULATION),
                *(f"{event_type}={path}" for event_type, path in FUNCTIONS.items()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=LONGEST_LINE,
            )
        except OSError as error:
            raise FunctionFailed(503, f"node, which runs the edge's functions, can't be started: {error}") from error

    def _send(self, process: asyncio.subprocess.Process, message: Mapping[str, Any]) -> None:
        if process.stdin is None or process.stdin.is_closing():
            raise FunctionFailed(503, "the runtime of the edge's functions has ended")
        process.stdin.write(json.dumps(message).encode() + b"\n")

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        try:
            while line := await process.stdout.readline():
                result = json.loads(line)
                waiting = self._waiting.get(result["id"])
                if waiting is not None and not waiting.done():
                    waiting.set_result(result)
        except ValueError:  # a line over LONGEST_LINE, so where the next one begins can't be told
            process.kill()
        await process.wait()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(FunctionFailed(503, "the runtime of the edge's functions ended"))


class EdgeKeyValueStore:
    """Reads the edge's KeyValueStore, again after FRESH_SECONDS.

    Args:
        client: Client of the emulator.
        arn: ARN of the KeyValueStore.
    """

    def __init__(self, client: "CloudFrontKeyValueStoreClient", arn: str) -> None:
        self._client = client
        self._arn = arn
        self._content: Mapping[str, str] = {}
        self._fresh_until = 0.0
        self._refreshing = asyncio.Lock()

    async def current(self) -> Mapping[str, str]:
        """Return all keys and values; the last known ones while the emulator doesn't answer."""
        if time.monotonic() >= self._fresh_until:
            async with self._refreshing:
                if time.monotonic() >= self._fresh_until:
                    self._content = await asyncio.to_thread(self._refresh)
                    self._fresh_until = time.monotonic() + FRESH_SECONDS
        return self._content

    def _refresh(self) -> Mapping[str, str]:
        try:
            return {item["Key"]: item["Value"] for item in self._client.list_keys(KvsARN=self._arn).get("Items", ())}
        except (ClientError, BotoCoreError):
            return self._content


# ------------------------------------------------------------------ events


def new_request_id() -> str:
    """Return an id as long as CloudFront's, and of the same characters."""
    return base64.urlsafe_b64encode(os.urandom(40)).decode()


def viewer_request(scope: Scope, request_id: str) -> dict[str, Any]:
    """Return the event of the viewer-request function."""
    client = scope.get("client") or ("127.0.0.1", 0)
    return {
        "version": "1.0",
        "context": {
            "distributionDomainName": "local.cloudfront.net",
            "distributionId": "LOCAL",
            "eventType": "viewer-request",
            "requestId": request_id,
        },
        "viewer": {"ip": client[0]},
        "request": {
            "method": scope["method"],
            "uri": scope["raw_path"].decode("latin-1"),
            "querystring": _query(scope["query_string"].decode("latin-1")),
            "headers": headers_object(scope["headers"]),
            "cookies": {},
        },
    }


def viewer_response(
    event: Mapping[str, Any], request: Mapping[str, Any], status: int, headers: Headers
) -> dict[str, Any]:
    """Return the event of the viewer-response function.

    Args:
        event: Event of the viewer-request function.
        request: Request that it returned.
        status: Status of the origin's response.
        headers: Headers of the origin's response.
    """
    response = {
        "statusCode": status,
        "statusDescription": "",
        "headers": headers_object(headers),
        "cookies": {},
    }
    context = {**event["context"], "eventType": "viewer-response"}
    return {**event, "context": context, "request": dict(request), "response": response}


def headers_object(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, Any]:
    values: dict[str, list[str]] = {}
    for raw_name, raw_value in headers:
        name = raw_name.decode("latin-1").lower()
        if name not in HIDDEN:
            values.setdefault(name, []).append(raw_value.decode("latin-1"))
    return {name: _one_or_many(several) for name, several in values.items()}


def headers_list(headers: Mapping[str, Any]) -> Headers:
    return [
        (name.encode("latin-1"), value.encode("latin-1"))
        for name, header in headers.items()
        for value in _values(header)
    ]


def query_string(query: Mapping[str, Any]) -> bytes:
    pairs = (f"{name}={value}" for name, parameter in query.items() for value in _values(parameter))
    return "&".join(pairs).encode("latin-1")


def _query(query: str) -> dict[str, Any]:
    """Return names and values as they were sent, not decoded."""
    values: dict[str, list[str]] = {}
    for pair in filter(None, query.split("&")):
        name, _, value = pair.partition("=")
        values.setdefault(name, []).append(value)
    return {name: _one_or_many(several) for name, several in values.items()}


def _one_or_many(values: list[str]) -> dict[str, Any]:
    """Return the first value as `value`, with all of them beside it where there are several."""
    one: dict[str, Any] = {"value": values[0]}
    return one if len(values) == 1 else one | {"multiValue": [{"value": value} for value in values]}


def _values(parameter: Mapping[str, Any]) -> list[str]:
    several = parameter.get("multiValue")
    return [one["value"] for one in several] if several else [parameter["value"]]
