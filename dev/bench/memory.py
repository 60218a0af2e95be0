"""Resident memory: of the download function's process, as Lambda starts it, and of the API's."""

import asyncio
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dev.bench.environment import Store, get_all, save
from dev.bench.memory_usage import most_resident
from dev.bench.row import Row
from dev.clients.runtime_token import runtime_token
from dev.clients.wire import Job
from dev.emulation.api_gateway import PLAIN_STREAMING, Caps, LocalRun, local_run
from dev.emulation.lambda_web_adapter import ExecutionEnvironment
from dev.local.template import ROOT

MB, MIB = 10**6, 1024 * 1024
SIZES = (100 * MB, 705 * MB, 2000 * MB)
READERS = 5
DOWNLOAD, FURTHER_READER, API = 192 * MIB, 64 * MIB, 160 * MIB
"""At most."""

PAUSE_SECONDS = 3
"""In which all is read ahead that may be."""

API_CALLS = 300


def memory(_store: Store, _rounds: int) -> Iterator[Row]:
    with (
        tempfile.TemporaryDirectory() as directory,
        local_run(Path(directory) / "run", {"LOCAL_MERGE_WORKERS": "0"}) as run,
    ):
        variables = run.download_variables(Caps(), PLAIN_STREAMING)
        alone = [(size, of_download(run, variables, [saved(run, size)])) for size in SIZES]
        for size, resident in alone:
            yield _row(f"download of {size / MB:,.0f} MB, one reader", resident, DOWNLOAD)
        together = of_download(run, variables, [saved(run, SIZES[1])] * READERS)
        each = (together - alone[1][1]) // (READERS - 1)
        yield _row(f"each further of {READERS} readers at once in one process", each, FURTHER_READER)
        yield _row(f"API, after {API_CALLS} lookups and reservations", of_api(run), API)


def _row(what: str, resident: int, most: int) -> Row:
    return Row(f"memory: {what}", "", f"{resident / MIB:.0f} MiB", None, f"≤ {most / MIB:.0f} MiB")


def saved(run: LocalRun, size: int, block_bytes: int = 64 * MIB) -> str:
    """The path of its download URL."""
    job = Job(run.url, runtime_token(repository=str(uuid.uuid4().int % 10**12)))
    save(job, "entry", block_bytes, size)
    return job.download_url("entry").removeprefix(run.url)


def of_download(run: LocalRun, variables: Mapping[str, str], paths: Sequence[str]) -> int:
    """The most that a new process of the download function holds while all of these are read, with a pause each."""
    return asyncio.run(_of_download(run.directory / "memory.log", variables, paths))


async def _of_download(log: Path, variables: Mapping[str, str], paths: Sequence[str]) -> int:
    environment = await ExecutionEnvironment.started(variables, log)
    try:
        urls = [f"http://127.0.0.1:{environment.port}{path}" for path in paths]
        await asyncio.to_thread(get_all, urls, PAUSE_SECONDS)
        return most_resident(environment.process.pid)
    finally:
        await environment.stop()


def of_api(run: LocalRun, calls: int = API_CALLS) -> int:
    answer = subprocess.run(
        [sys.executable, "-m", "dev.bench.api_calls", str(calls)],
        cwd=ROOT,
        env=os.environ
        | run.variables()
        | {"TOKEN_CLAIMS": "any", "VERIFY_TOKENS": "0", "PYTHONPATH": f"{ROOT}:{ROOT / 'layers' / 'core'}"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return int(answer.stdout.splitlines()[-1])
