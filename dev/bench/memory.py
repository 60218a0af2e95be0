"""Resident memory of the download function's process, as Lambda starts it."""

import asyncio
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dev.bench.environment import MB, MIB, Emulators, Row, new_token, peak_memory, save
from dev.bench.load_generator import get_all
from dev.clients.wire import Job
from dev.emulation.api_gateway import PLAIN_STREAMING, Caps, LocalRun, local_run
from dev.emulation.lambda_web_adapter import ExecutionEnvironment

SIZES = (100 * MB, 705 * MB, 2000 * MB)
READERS = 5
DOWNLOAD, FURTHER_READER = 192 * MIB, 64 * MIB
"""Most memory that is aimed at."""

PAUSE_SECONDS = 3
"""Pause of each reader, in which all is read ahead that may be."""


def memory(_emulators: Emulators, _rounds: int) -> Iterator[Row]:
    with (
        tempfile.TemporaryDirectory() as directory,
        local_run(Path(directory) / "run", {"LOCAL_MERGE_WORKERS": "0"}) as run,
    ):
        variables = run.download_variables(Caps(), PLAIN_STREAMING)
        alone = [of_download(run, variables, [saved(run, size)]) for size in SIZES]
        for size, most in zip(SIZES, alone, strict=True):
            yield _row(f"download of {size / MB:,.0f} MB, one reader", most, DOWNLOAD)
        together = of_download(run, variables, [saved(run, SIZES[1])] * READERS)
        each = (together - alone[1]) // (READERS - 1)
        yield _row(f"each further of {READERS} readers at once in one process", each, FURTHER_READER)


def _row(what: str, most: int, aim: int) -> Row:
    return Row(f"memory: {what}", "", f"{most / MIB:.0f} MiB", None, f"≤ {aim / MIB:.0f} MiB")


def saved(run: LocalRun, size: int, block_bytes: int = 64 * MIB) -> str:
    """Save an entry, and return the path of its download URL."""
    job = Job(run.url, new_token())
    save(job, "entry", block_bytes, size)
    return job.download_url("entry").removeprefix(run.url)


def of_download(run: LocalRun, variables: Mapping[str, str], paths: Sequence[str]) -> int:
    """Return the most bytes that a new process of the download function holds while all paths are read at once."""
    return asyncio.run(_of_download(run.directory / "memory.log", variables, paths))


async def _of_download(log: Path, variables: Mapping[str, str], paths: Sequence[str]) -> int:
    environment = await ExecutionEnvironment.started(variables, log)
    try:
        urls = [f"http://127.0.0.1:{environment.port}{path}" for path in paths]
        await asyncio.to_thread(get_all, urls, PAUSE_SECONDS)
        return peak_memory(environment.process.pid)
    finally:
        await environment.stop()
