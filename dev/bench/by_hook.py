"""Restores by the real @actions/cache with the runner's hook and without, from a store that caps each connection.

The caps are S3's published rates (docs/design/aws-limits.md), kept by the bench's own proxy: a store capped at S3's
rate, not AWS. Both sides go through it and take turns.
"""

import json
import os
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dev.bench.environment import MB, MIB, Emulators, Environment, Row, environment, save
from dev.bench.restores import BLOCK_BYTES, ENTRY_BYTES, in_turn
from dev.clients.actions_cache import NEWEST
from dev.clients.hook import hooked, install
from dev.clients.runtime_token import job_variables
from dev.clients.wire import VERSION, Job

DRIVER = Path(__file__).parents[1] / "clients" / "download.mjs"
CONNECTIONS = 8
CAPS = ((54 * MB, 5.0), (90 * MB, 4.5))
"""Bytes a second of a connection, and how many times as fast the hook is to be."""

LATENCY = 30
JOBS = 8
MOST_MEMORY = 128 * MIB


@dataclass(frozen=True)
class Download:
    """The figures of one download by the real client."""

    seconds: float
    before: int
    """Bytes of memory before the download."""
    most: int
    sha256: str


@dataclass(frozen=True)
class Downloader:
    """Downloads one entry by @actions/cache's own functions, in a new process each time."""

    job: Job
    directory: Path
    hook: Path | None = None

    def __call__(self, name: str = "archive") -> Download:
        """Download the entry to a file of this name, which is removed."""
        file = self.directory / name
        call = {"package": NEWEST, "key": "entry", "version": VERSION, "path": str(file)}
        variables = job_variables(self.job.server, self.job.token)
        if self.hook:
            variables = hooked(variables, self.hook)
        # What the hook remembers of the server's state is a job's, and each of these is a job of its own.
        with tempfile.TemporaryDirectory() as temporary:
            environment = {**variables, "PATH": os.environ["PATH"], "RUNNER_TEMP": temporary}
            output = subprocess.check_output(["node", str(DRIVER), json.dumps(call)], env=environment, text=True)
        file.unlink()
        return Download(**json.loads(output.splitlines()[-1]))

    def seconds(self) -> float:
        return self().seconds


def by_hook(emulators: Emulators, rounds: int) -> Iterator[Row]:
    for cap, aim in CAPS:
        with environment(emulators, LATENCY, 1, bytes_per_second=cap, merge_trigger="finalize") as at:
            what = f"705 MB merged, {cap // MB} MB/s a connection"
            yield from _capped(what, at, aim, rounds, is_merged=True)
        with environment(emulators, LATENCY, bytes_per_second=cap) as at:
            yield from _capped(f"705 MB in parts, {cap // MB} MB/s a connection", at, aim, rounds, is_merged=False)
    for milliseconds, aim in ((0, 0.85), (LATENCY, 1.0)):
        with environment(emulators, milliseconds) as at, _downloader(at) as (job, plain, ours):
            object_url = at.plain_object("entry", ENTRY_BYTES)
            by_curl = in_turn(lambda url=object_url: _curl([url]), ours.seconds, rounds=rounds)
            del job, plain
            what = f"705 MB in parts, no cap, {milliseconds} ms a request, beside curl's GET of one object"
            yield _times(what, *by_curl, aim)
    with environment(emulators, LATENCY, 1, bytes_per_second=CAPS[0][0], merge_trigger="finalize") as at:
        yield from _many(at, rounds)


def _capped(what: str, at: Environment, aim: float, rounds: int, *, is_merged: bool) -> Iterator[Row]:
    object_url = at.plain_object("entry", ENTRY_BYTES)
    with _downloader(at) as (job, plain, ours):
        if is_merged:
            job.wait_until_merged("entry")
        else:
            # The client's yardstick is a plain GET of one object: what a merged entry's restore would be.
            plain = None
        ranges = [(start, min(ENTRY_BYTES, start + -(-ENTRY_BYTES // CONNECTIONS)) - 1)
                  for start in range(0, ENTRY_BYTES, -(-ENTRY_BYTES // CONNECTIONS))]
        sides = (plain.seconds if plain else lambda: _curl([object_url]), lambda: _curl([object_url], ranges))
        found: list[Download] = []

        def hooked_seconds() -> float:
            found.append(ours())
            return found[-1].seconds

        without, by_curl, with_hook = in_turn(*sides, hooked_seconds, rounds=rounds)
        yield _times(what, without, with_hook, aim)
        yield _times(f"{what}, beside {CONNECTIONS} ranges by curl", by_curl, with_hook, 0.85)
        memory = max(download.most - download.before for download in found)
        yield Row(f"{what}: memory of the process", "", f"{memory / MIB:.0f} MiB more", None, f"≤ {MOST_MEMORY // MIB} MiB")


def _many(at: Environment, rounds: int) -> Iterator[Row]:
    """Several jobs at once, each of its own entry's."""
    with _downloader(at) as (job, plain, ours):
        job.wait_until_merged("entry")

        def all_at_once(side: Downloader) -> list[float]:
            with ThreadPoolExecutor(JOBS) as executor:
                return [done.seconds for done in executor.map(side, map(str, range(JOBS)))]

        turns = [(all_at_once(plain), all_at_once(ours)) for _ in range(rounds)]
        for what, of in (("last", max), ("median", statistics.median)):
            without, with_hook = (statistics.median(of(turn[side]) for turn in turns) for side in (0, 1))
            yield _times(f"{JOBS} jobs at once, 54 MB/s a connection: the {what} of them", without, with_hook, 0.91)


@contextmanager
def _downloader(at: Environment) -> Iterator[tuple[Job, Downloader, Downloader]]:
    """Save an entry, and yield its job, and its downloads without the hook and with it."""
    job = at.job()
    save(job, "entry", BLOCK_BYTES, ENTRY_BYTES)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        hook = install(directory / "hook", at.server, connections=CONNECTIONS)
        yield job, Downloader(job, directory), Downloader(job, directory, hook)


def _curl(urls: Sequence[str], ranges: Sequence[tuple[int, int]] = ()) -> float:
    """Return the seconds that curl takes for URLs, or for ranges of the first, each by a process, all at once."""
    import time

    curl = shutil.which("curl") or "curl"
    commands = [[curl, "-sf", "-o", os.devnull, "-r", f"{first}-{last}", urls[0]] for first, last in ranges] or [
        [curl, "-sf", "-o", os.devnull, url] for url in urls
    ]
    began = time.perf_counter()
    processes = [subprocess.Popen(command) for command in commands]
    if any([process.wait() for process in processes]):
        raise RuntimeError("curl failed")
    return time.perf_counter() - began


def _times(what: str, without: float, with_hook: float, aim: float) -> Row:
    return Row(what, f"without {without:.2f} s", f"{with_hook:.2f} s", without / with_hook, f"≥ {aim:.2f}")
