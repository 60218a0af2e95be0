"""functions/download/run.sh under Lambda Web Adapter."""

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from dev.clients.runtime_token import runtime_token
from dev.clients.wire import GO, Job
from dev.emulation.api_gateway import Caps, LocalRun
from dev.emulation.lambda_web_adapter import EnvironmentFailed, ExecutionEnvironment

LONGER_THAN_UVICORNS_OWN_KEEP_ALIVE = 5.5

BLOCKS = bytes(100), bytes(100)


@pytest.fixture
def variables(unmerged: LocalRun) -> dict[str, str]:
    return unmerged.download_variables(Caps(), {"STREAM_BURST_BYTES": str(len(BLOCKS[0]))})


@pytest.fixture
async def environment(variables: dict[str, str], tmp_path: Path) -> AsyncIterator[ExecutionEnvironment]:
    one = await ExecutionEnvironment.started(variables, tmp_path / "log")
    yield one
    await one.stop()


@pytest.fixture
def path(unmerged: LocalRun, repository: str) -> str:
    """Return the path of a download URL, whose archive has two parts."""
    job = Job(unmerged.url, runtime_token(repository=repository), GO)
    job.save("key", *BLOCKS)
    return job.download_url("key").removeprefix(unmerged.url)


async def test_missing_setting_ends_the_process_with_its_name(variables: dict[str, str], tmp_path: Path):
    """Lambda would otherwise wait for a port that never opens."""
    del variables["BUCKET"]
    with pytest.raises(EnvironmentFailed, match="bucket"):
        await ExecutionEnvironment.started(variables, tmp_path / "log")


async def test_taken_port_ends_the_process(variables: dict[str, str], tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        one = await ExecutionEnvironment.launched(variables, tmp_path / "log", port=taken.getsockname()[1])
        assert await asyncio.wait_for(one.process.wait(), 20) != 0
        await one.stop()


async def test_idle_and_frozen_connection_is_not_closed(environment: ExecutionEnvironment, path: str):
    """The adapter may send on it at any time until it closes it itself."""
    reader, writer = await asyncio.open_connection("127.0.0.1", environment.port)

    async def head() -> bytes:
        """Send the shortest request, which in production the API answers."""
        writer.write(f"HEAD {path} HTTP/1.1\r\nHost: app\r\n\r\n".encode())
        return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)

    assert (await head()).startswith(b"HTTP/1.1 405")
    await asyncio.sleep(0.1)
    environment.process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(LONGER_THAN_UVICORNS_OWN_KEEP_ALIVE)
    environment.process.send_signal(signal.SIGCONT)
    await asyncio.sleep(0.1)
    assert (await head()).startswith(b"HTTP/1.1 405")
    writer.close()


async def test_answers_and_log_lines_are_lambdas(environment: ExecutionEnvironment, path: str, tmp_path: Path):
    """No header names the server, no line has a signature, and each has Lambda's request id."""
    request_id = ""
    for requested, status in ((path.replace("sig=", "sig=x"), 403), (path, 200)):
        async with environment.request("GET", requested, {}, b"", within=10) as answer:
            assert (answer.status, "Server" in answer.headers) == (status, False)
            request_id = answer.headers["x-ms-request-id"]
            await answer.read()
    assert "-" in request_id, "Lambda's ids have hyphens; the server's own have none"
    log = (tmp_path / "log").read_text()
    assert "sig=" not in log
    lines = [json.loads(line) for line in log.splitlines()]
    assert "first byte" in [line["message"] for line in lines if line["function_request_id"] == request_id]


async def test_event_that_is_no_request_is_not_found(environment: ExecutionEnvironment):
    """The adapter posts events that are no requests to /events."""
    async with environment.request("POST", "/events", {}, b"{}", within=10) as answer:
        assert answer.status == 404


async def test_redirect_to_the_server_keeps_the_scheme(
    environment: ExecutionEnvironment, path: str, merge_all: Callable[[], object]
):
    await asyncio.to_thread(merge_all)
    through_edge = {"X-Viewer-Host": "cache.example.org", "X-Forwarded-Proto": "https"}
    long_range = {"x-ms-range": f"bytes=0-{len(BLOCKS[0])}"}
    async with environment.request("GET", path, {**through_edge, **long_range}, b"", within=10) as answer:
        assert answer.status == 302
        assert answer.headers["Location"].startswith("https://cache.example.org/blobs/object/")
