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
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dev.bench.environment import MB, MIB, Emulators, Environment, Row, environment, save
from dev.bench.restores import BLOCK_BYTES, ENTRY_BYTES, in_turn
from dev.clients.actions_cache import NEWEST, ActionsCache, Outcome
from dev.clients.hook import CONNECTIONS, hooked, install
from dev.clients.runtime_token import job_variables
from dev.clients.wire import VERSION, Job
from dev.demo.tree import differences, fingerprint
from dev.docs import bars
from dev.local.template import ROOT

DRIVER = Path(__file__).parents[1] / "clients" / "download.mjs"
CAPS = ((54 * MB, 5.0), (90 * MB, 4.5))
"""Bytes a second of a connection, and how many times as fast the hook is to be."""

CURLS_SHARE = 0.85
UNCAPPED = ((0, 0.85), (30, 1.0))
"""Milliseconds a request, and the least speed beside a plain GET of one object."""

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
    url: str | None = None
    """A URL to download without a lookup."""

    def __call__(self, name: str = "archive") -> Download:
        """Download the entry to a file of this name, which is removed."""
        file = self.directory / name
        what = {"url": self.url} if self.url else {"key": "entry", "version": VERSION}
        call = {"package": NEWEST, "path": str(file), **what}
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
        at_most = f"{cap // MB} MB/s a connection"
        with environment(emulators, LATENCY, 1, bytes_per_second=cap, merge_trigger="finalize") as at:
            yield from _capped(f"705 MB merged, {at_most}", at, aim, rounds, is_merged=True)
        with environment(emulators, LATENCY, bytes_per_second=cap) as at:
            yield from _capped(f"705 MB in parts, {at_most}", at, aim, rounds, is_merged=False)
    for milliseconds, aim in UNCAPPED:
        with environment(emulators, milliseconds) as at, _saved(at) as sides:
            plain, ours = in_turn(sides.of_object.seconds, sides.with_hook.seconds, rounds=rounds)
            yield _times(f"705 MB in parts, no cap, {milliseconds} ms a request, beside one object", plain, ours, aim)
    with environment(emulators, LATENCY, 1, bytes_per_second=CAPS[0][0], merge_trigger="finalize") as at:
        yield from _many(at, rounds)


def _capped(what: str, at: Environment, aim: float, rounds: int, *, is_merged: bool) -> Iterator[Row]:
    """Compare the hook with the client alone, and with curl's ranges of one object by as many connections.

    What isn't merged has the client's plain GET of one object beside it: its restore once it is merged.
    """
    with _saved(at) as sides:
        if is_merged:
            sides.without.job.wait_until_merged("entry")
        downloads: list[Download] = []

        def with_hook() -> float:
            downloads.append(sides.with_hook())
            return downloads[-1].seconds

        plain = sides.without if is_merged else sides.of_object
        without, by_curl, ours = in_turn(plain.seconds, sides.ranges_of_object, with_hook, rounds=rounds)
        memory = max(download.most - download.before for download in downloads)
        yield _times(what, without, ours, aim)
        yield _times(f"{what}, beside {CONNECTIONS} ranges by curl", by_curl, ours, CURLS_SHARE)
        most = f"≤ {MOST_MEMORY // MIB} MiB"
        yield Row(f"{what}: memory of the client's process", "", f"{memory / MIB:.0f} MiB more", None, most)


@dataclass(frozen=True)
class Sides:
    """One entry and one object of the same size, and the ways to read them."""

    object_url: str
    without: Downloader
    with_hook: Downloader

    @property
    def of_object(self) -> Downloader:
        """The client's plain GET of the object."""
        return replace(self.without, url=self.object_url)

    def ranges_of_object(self) -> float:
        step = -(-ENTRY_BYTES // CONNECTIONS)
        return _curl([["-r", f"{start}-{start + step - 1}", self.object_url] for start in range(0, ENTRY_BYTES, step)])


@contextmanager
def _saved(at: Environment) -> Iterator[Sides]:
    job = at.job()
    save(job, "entry", BLOCK_BYTES, ENTRY_BYTES)
    object_url = at.plain_object(str(uuid.uuid4()), ENTRY_BYTES)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        hook = install(directory / "hook", at.server, connections=CONNECTIONS)
        yield Sides(object_url, Downloader(job, directory), Downloader(job, directory, hook))


def _curl(commands: Sequence[Sequence[str]]) -> float:
    """Return the seconds that GETs by curl take, each in a process of its own, all at once."""
    began = time.perf_counter()
    processes = [subprocess.Popen(["curl", "--fail", "--silent", "--output", os.devnull, *each]) for each in commands]
    if sum(process.wait() for process in processes):
        raise RuntimeError("curl failed")
    return time.perf_counter() - began


def _times(what: str, without: float, with_hook: float, aim: float | None = None, more: str = "") -> Row:
    at_least = "" if aim is None else f"≥ {aim:.2f}"
    return Row(what, f"without {without:.2f} s", f"{with_hook:.2f} s", without / with_hook, at_least, more)


# ---------------------------------------------------------------- whole steps

INSTALLED = ("dev/clients/node_modules", ".venv/lib")
"""Directories of packages from npm and PyPI, which is what jobs cache; this repository installs them itself."""

STEP_BYTES = 300 * MB


@dataclass(frozen=True)
class Step:
    """The seconds of a restore step, of which some pass until the archive's last byte is there."""

    size: int
    """Bytes of the archive."""
    seconds: float
    until_downloaded: float


@dataclass(frozen=True)
class HookedActionsCache(ActionsCache):
    """The client of a job on a runner with the hook."""

    hook: Path = Path()

    def _environment(self) -> dict[str, str]:
        return hooked(super()._environment(), self.hook)


PICTURE = ROOT / "docs" / "images" / "restore.svg"


def steps(emulators: Emulators, rounds: int) -> Iterator[Row]:
    """Download a large archive, and restore what was installed here, tar and zstd too; and draw both."""
    cap = CAPS[0][0]
    with environment(emulators, LATENCY, 1, bytes_per_second=cap, merge_trigger="finalize") as at, _saved(at) as sides:
        sides.without.job.wait_until_merged("entry")
        plain, ours = in_turn(sides.without.seconds, sides.with_hook.seconds, rounds=rounds)
    archive = f"An archive of {ENTRY_BYTES // MB} MB"
    yield _times(f"{archive}, {UNTIL_DOWNLOADED}, {cap // MB} MB/s", plain, ours)
    without, with_hook = restore_steps(emulators, STEP_BYTES, rounds)
    files = f"{STEP_BYTES // MB} MB of files, an archive of {without.size / MB:.0f} MB"
    more = f"downloaded after {without.until_downloaded:.2f} s and {with_hook.until_downloaded:.2f} s"
    yield _times(f"restore step of {files}, {cap // MB} MB/s", without.seconds, with_hook.seconds, more=more)
    title = f"Restoring by actions/cache from a local store that gives a connection {cap // MB} MB/s, as S3 does"
    groups = [bars.Group(archive, [_pair(UNTIL_DOWNLOADED, plain, ours)])]
    groups.append(bars.Group(files, list(_pairs(without, with_hook))))
    PICTURE.write_text(bars.picture(title, "without the hook", "with it", groups))


UNTIL_DOWNLOADED = "until downloaded"


def _pairs(without: Step, with_hook: Step) -> Iterator[bars.Pair]:
    yield _pair(UNTIL_DOWNLOADED, without.until_downloaded, with_hook.until_downloaded)
    yield _pair("the whole step, unpacking too", without.seconds, with_hook.seconds)


def _pair(what: str, *seconds: float) -> bars.Pair:
    return bars.Pair(what, *(bars.Bar(side, f"{side:.1f} s") for side in seconds))


def restore_steps(emulators: Emulators, size: int, rounds: int) -> tuple[Step, Step]:
    """Return the median step without the hook, and with it, both of the same merged entry."""
    with (
        environment(emulators, LATENCY, 1, bytes_per_second=CAPS[0][0], merge_trigger="finalize") as at,
        tempfile.TemporaryDirectory() as name,
    ):
        directory = Path(name)
        (workspace := directory / "workspace").mkdir()
        plain = ActionsCache(at.server, workspace, at.job().token)
        hook = install(directory / "hook", at.server, connections=CONNECTIONS)
        with_hook = HookedActionsCache(plain.server, workspace, plain.token, hook=hook)
        collect(workspace / "files", size)
        files = fingerprint(workspace / "files")
        plain.save(["files"], "key")
        time.sleep(MERGED_SECONDS)

        def restore(client: ActionsCache) -> Step:
            shutil.rmtree(workspace / "files")
            shutil.rmtree(client.temporary)
            outcome = client.restore(["files"], "key")
            if wrong := differences(files, fingerprint(workspace / "files")):
                raise RuntimeError("; ".join(wrong[:3]))
            return _step(outcome)

        turns = [(restore(plain), restore(with_hook)) for _ in range(rounds)]
    return _median([turn[0] for turn in turns]), _median([turn[1] for turn in turns])


MERGED_SECONDS = 5
"""Time in which an entry of this size is merged here."""


def collect(directory: Path, size: int) -> None:
    """Copy installed files until they have `size` bytes."""
    left = size
    for root in INSTALLED:
        for file in sorted((ROOT / root).resolve().rglob("*")):
            if left <= 0:
                return
            if file.is_file() and not file.is_symlink():
                copy = directory / root.replace("/", "-") / file.relative_to((ROOT / root).resolve())
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, copy)
                left -= file.stat().st_size


def _step(outcome: Outcome) -> Step:
    downloads = [request for request in outcome.downloads if not request.is_redirect]
    total = max(request.received_bytes for request in downloads)
    return Step(total, outcome.seconds, max(request.ended for request in downloads))


def _median(them: list[Step]) -> Step:
    return sorted(them, key=lambda step: step.seconds)[len(them) // 2]


# ---------------------------------------------------------------- saves


def saves(emulators: Emulators, rounds: int) -> Iterator[Row]:
    """Save one large file by the client through the edge, and by the hook straight into the bucket; restore both."""
    cap = CAPS[0][0]
    with (
        environment(emulators, LATENCY, 1, bytes_per_second=cap, merge_trigger="finalize") as at,
        tempfile.TemporaryDirectory() as name,
    ):
        directory = Path(name)
        (workspace := directory / "workspace").mkdir()
        (workspace / "file").write_bytes(os.urandom(ENTRY_BYTES))
        plain = ActionsCache(at.server, workspace, at.job().token)
        hook = install(directory / "hook", at.server, connections=CONNECTIONS)
        with_hook = HookedActionsCache(plain.server, workspace, plain.token, hook=hook)

        def save_and_restore(client: ActionsCache, key: str) -> tuple[float, float]:
            """Return the seconds of the save, and of a restore by the hook right after it."""
            saved = client.save(["file"], key).seconds
            restored = with_hook.restore(["file"], key).seconds
            shutil.rmtree(client.temporary)
            return saved, restored

        turns = [
            (save_and_restore(plain, f"edge-{turn}"), save_and_restore(with_hook, f"direct-{turn}"))
            for turn in range(rounds)
        ]
    for index, what in enumerate(("save of a file of 705 MB", "its restore with the hook, right after the save")):
        edge, direct = (statistics.median(turn[side][index] for turn in turns) for side in (0, 1))
        row = _times(f"{what}, {cap // MB} MB/s a connection", edge, direct)
        yield row._replace(beside=f"by the edge {edge:.2f} s")


# ---------------------------------------------------------------- many at once


def _many(at: Environment, rounds: int) -> Iterator[Row]:
    with _saved(at) as sides:
        sides.without.job.wait_until_merged("entry")

        def all_at_once(side: Downloader) -> list[float]:
            with ThreadPoolExecutor(JOBS) as executor:
                return [download.seconds for download in executor.map(side, map(str, range(JOBS)))]

        turns = [(all_at_once(sides.without), all_at_once(sides.with_hook)) for _ in range(rounds)]
    for what, of, aim in (("all", statistics.mean, 1.0), ("the slowest", max, 1 / 1.1)):
        without, with_hook = (statistics.median(of(turn[side]) for turn in turns) for side in (0, 1))
        yield _times(f"{JOBS} jobs at once, 54 MB/s a connection: {what}", without, with_hook, aim)
