"""Lambda around functions/download/run.sh: execution environments, each with the adapter's side of its own web server.

What the adapter does is taken from its source, v1.0.0: github.com/awslabs/aws-lambda-web-adapter, src/lib.rs.
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
"""After which the adapter doesn't use a connection again."""

STOP_SECONDS = 2

DEATH_SECONDS = 0.5
"""Between a connection's end and the news that its process ended, should it have."""


def error_text(fault: Exception) -> bytes:
    """Return the text that the adapter sends as more of the body when the app's connection breaks, before a proper end.

    lambda_runtime's `to_tailer`: github.com/awslabs/aws-lambda-rust-runtime, lambda-runtime/src/requests.rs, types.rs.
    """
    told = json.dumps({"errorType": "Runtime.StreamError", "errorMessage": str(fault)})
    body = base64.b64encode(told.encode()).decode()
    return (
        f"Lambda-Runtime-Function-Error-Type: Runtime.StreamError\r\nLambda-Runtime-Function-Error-Body: {body}\r\n"
    ).encode()


class NoAnswer(Exception):
    pass


class EnvironmentFailed(Exception):
    """The process ended before it served; the message is what it wrote."""


@dataclass
class ExecutionEnvironment:
    """One `run.sh`. It serves one request at a time."""

    process: asyncio.subprocess.Process
    port: int
    _connections: aiohttp.ClientSession

    @classmethod
    async def started(cls, variables: Mapping[str, str], log: Path) -> "ExecutionEnvironment":
        """Ready: its port takes connections.

        Args:
            variables: the function's own, where the resources are, and credentials.
            log: gets what the process writes.

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
        """What the app answers, as far as its headers.

        Raises:
            NoAnswer: it didn't begin to, within so many seconds.
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
    """As many environments as requests came at once, each used again as soon as it is free."""

    variables: Mapping[str, str]
    log: Path
    environments: list[ExecutionEnvironment] = field(default_factory=list)
    _idle: list[ExecutionEnvironment] = field(default_factory=list)

    @asynccontextmanager
    async def environment(self) -> AsyncIterator[ExecutionEnvironment]:
        """Raises: EnvironmentFailed."""
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
    """As the template names it, relative to the task root."""
    template = Template.load()
    handler: str = template.resolve(template.functions[FUNCTION]["Handler"])
    return handler


def template_variables() -> dict[str, str]:
    """The function's own environment on AWS, but for what is named after a resource there."""
    template = Template.load()
    own = template.functions[FUNCTION]["Environment"]["Variables"]
    return {name: str(value) for name, value in template.resolve(own).items()}


def _environment(variables: Mapping[str, str], port: int) -> dict[str, str]:
    """Nothing of the test's own: on Lambda there is nothing else either."""
    return {
        **variables,
        "AWS_LWA_PORT": str(port),
        "LAMBDA_TASK_ROOT": str(ROOT),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
        # Where Lambda has its runtime's libraries, and the layer's are in /opt/python.
        "PYTHONPATH": str(ROOT / "layers" / "core"),
    }


def _contexts() -> dict[str, str]:
    """What the adapter tells the app about an invocation."""
    request_id = str(uuid.uuid4())
    deadline = int(time.time() * 1000) + 900_000
    return {
        "x-amzn-request-context": json.dumps({"requestId": request_id, "stage": "v1", "httpMethod": "GET"}),
        "x-amzn-lambda-context": json.dumps({"request_id": request_id, "deadline": deadline}),
    }
