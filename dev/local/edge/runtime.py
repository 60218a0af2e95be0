"""The edge's functions in the emulated runtime of CloudFront, a Node process beside this one (runtime.mjs)."""

import asyncio
import json
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from dev.local.template import ROOT

EMULATION = Path(__file__).with_name("runtime.mjs")
FUNCTIONS = {
    "viewer-request": ROOT / "functions" / "edge" / "viewer_request.js",
    "viewer-response": ROOT / "functions" / "edge" / "viewer_response.js",
}

LONGEST_LINE = 4 * 1024 * 1024
"""Of an event as JSON; a request's headers have a few kilobytes."""


class FunctionFailed(Exception):
    """The function threw, or returned what CloudFront refuses."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class EdgeRuntime:
    """Runs functions. It starts with the first call, and again should the process have ended.

    Several calls may be under way at once.
    """

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._ids = count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._key_value_store: Mapping[str, str] = {}

    async def run(self, event_type: str, event: Mapping[str, Any]) -> dict[str, Any]:
        """What the function gave: `{"request": ..., "origin": ...}` or `{"response": ...}`.

        Raises: FunctionFailed.
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
        """From the next call on."""
        if content != self._key_value_store:
            self._key_value_store = content
            if self._process is not None:
                self._send(self._process, {"kvs": content})

    async def close(self) -> None:
        """It ends with its input."""
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
