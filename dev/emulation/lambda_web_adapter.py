"""Lambda Web Adapter around functions/download/run.sh: execution environments with a web server each.

The adapter's behaviour is that of its source, v1.0.0: github.com/awslabs/aws-lambda-web-adapter, src/lib.rs.
"""

import asyncio
import base64
import json
import os
import sys
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from yarl import URL

from dev.clients.local_server import free_port
from dev.emulation.proxy import connections
from dev.local.template import ROOT, Template

FUNCTION = "DownloadFunction"

READINESS_SECONDS = 0.01
START_SECONDS = 30
POOL_IDLE_SECONDS = 4
"""Idle time after which the adapter doesn't use a connection again."""

STOP_SECONDS = 2

DEATH_SECONDS = 0.5
"""Longest time between the end of a connection and that of its process, if it ended."""


def error_text(error: Exception) -> bytes:
    """Return the text that the adapter sends as more of the body when the app's connection breaks, before a proper end.

    lambda_runtime's `to_tailer`: github.com/awslabs/aws-lambda-rust-runtime, lambda-runtime/src/requests.rs, types.rs.
    """
    text = json.dumps({"errorType": "Runtime.StreamError", "errorMessage": str(error)})
    body = base64.b64encode(text.encode()).decode()
    return (
        f"Lambda-Runtime-Function-Error-Type: Runtime.StreamError\r\nLambda-Runtime-Function-Error-Body: {body}\r\n"
    ).encode()


class NoAnswer(Exception):
    """Raised when the app doesn't begin to answer in time."""


class EnvironmentFailed(Exception):
    """Raised when the process ended before it served; the message is its log."""


@dataclass
class ExecutionEnvironment:
    """A process of `run.sh`, which serves one request at a time."""

    process: asyncio.subprocess.Process
    port: int
    _connections: aiohttp.ClientSession

    @classmethod
    async def started(cls, variables: Mapping[str, str], log: Path) -> "ExecutionEnvironment":
        """Start a process, and wait until its port takes connections.

        Args:
            variables: the function's environment, with endpoints and credentials.
            log: file for the process's output.

        Raises:
            EnvironmentFailed: the process ended.
        """
        one = await cls.launched(variables, log, free_port())
        try:
            await one._wait_until_ready(log)
        except BaseException:
            await one.stop()
            raise
        return one

    @classmethod
    async def launched(cls, variables: Mapping[str, str], log: Path, port: int) -> "ExecutionEnvironment":
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                ROOT / run_script(), env=_environment(variables, port), cwd=ROOT, stdout=output, stderr=output
            )
        pool = aiohttp.TCPConnector(limit=1, keepalive_timeout=POOL_IDLE_SECONDS)
        return cls(process, port, connections(pool))

    async def _wait_until_ready(self, log: Path) -> None:
        async with asyncio.timeout(START_SECONDS):
            while self.is_alive:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    return
                await asyncio.sleep(READINESS_SECONDS)
        raise EnvironmentFailed(await asyncio.to_thread(log.read_text, errors="replace"))

    @property
    def is_alive(self) -> bool:
        return self.process.returncode is None

    @asynccontextmanager
    async def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, *, within: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request as the adapter does, and yield the answer with its body unread.

        Raises:
            NoAnswer: the answer didn't begin within so many seconds.
            aiohttp.ClientError: the connection broke, here or while the answer is read.
        """
        url = URL(f"http://127.0.0.1:{self.port}{path}", encoded=True)
        asked = self._connections.request(
            method, url, headers={**headers, **_contexts()}, data=body, allow_redirects=False
        )
        try:
            async with asyncio.timeout(within):
                answer = await asked
        except TimeoutError:
            raise NoAnswer from None
        async with answer:
            yield answer

    async def stop(self) -> None:
        await self._connections.close()
        if self.is_alive:
            self.process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


@dataclass
class StreamingFunction:
    """Runs as many environments as there are concurrent requests, and reuses each as soon as it is free."""

    variables: Mapping[str, str]
    log: Path
    environments: list[ExecutionEnvironment] = field(default_factory=list)
    _idle: list[ExecutionEnvironment] = field(default_factory=list)

    @asynccontextmanager
    async def environment(self) -> AsyncIterator[ExecutionEnvironment]:
        """Provide a free environment, or start one.

        Raises:
            EnvironmentFailed: its process ended before it served.
        """
        while self._idle and not self._idle[-1].is_alive:
            self._idle.pop()
        if self._idle:
            one = self._idle.pop()
        else:
            one = await ExecutionEnvironment.started(self.variables, self.log)
            self.environments.append(one)
        try:
            yield one
        except aiohttp.ClientError:
            with suppress(TimeoutError):
                await asyncio.wait_for(one.process.wait(), DEATH_SECONDS)
            raise
        finally:
            self._idle.append(one)

    async def stop(self) -> None:
        await asyncio.gather(*(one.stop() for one in self.environments))


def run_script() -> str:
    """Return the path of the script in the template, relative to the task root."""
    template = Template.load()
    handler: str = template.resolve(template.functions[FUNCTION]["Handler"])
    return handler


def template_variables() -> dict[str, str]:
    """Return the function's environment in the template, without what is named after a resource."""
    template = Template.load()
    own = template.functions[FUNCTION]["Environment"]["Variables"]
    return {name: str(value) for name, value in template.resolve(own).items()}


def _environment(variables: Mapping[str, str], port: int) -> dict[str, str]:
    """Return the process's whole environment, without this process's own."""
    return {
        **variables,
        "AWS_LWA_PORT": str(port),
        "LAMBDA_TASK_ROOT": str(ROOT),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
        # Where Lambda has its runtime's libraries, and the layer's are in /opt/python.
        "PYTHONPATH": str(ROOT / "layers" / "core"),
    }


def _contexts() -> dict[str, str]:
    """Return the headers in which the adapter describes an invocation."""
    request_id = str(uuid.uuid4())
    deadline = int(time.time() * 1000) + 900_000
    return {
        "x-amzn-request-context": json.dumps({"requestId": request_id, "stage": "v1", "httpMethod": "GET"}),
        "x-amzn-lambda-context": json.dumps({"request_id": request_id, "deadline": deadline}),
    }
