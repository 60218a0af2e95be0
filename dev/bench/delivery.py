"""`make bench-delivery`: an entry saved a moment ago, restored under AWS's caps by the delivery rule and by streaming.

The caps are emulated (tests/integration/streaming); client, store, merge and the download function's own server are the
real ones of the local run. Prints a table in Markdown; takes some three minutes, and 4 GB of disk for a while.
"""

import os
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path

from dev.clients.actions_cache import ActionsCache
from dev.clients.runtime_token import runtime_token
from dev.clients.wire import Job, Reading, read
from dev.emulation.api_gateway import MB, PLAIN_STREAMING, Caps, Gateway, LocalRun, local_run

ENTRY_BYTES = 705 * MB
BLOCK_BYTES = 64 * 1024 * 1024
"""As @actions/cache cuts them: eleven."""

AWS = Caps()
LAMBDA_SECONDS = (ENTRY_BYTES - AWS.lambda_burst) / AWS.per_second

FIRST_DOWNLOAD = {"MERGE_TRIGGER": "first-download"}
NEVER_MERGED = {"LOCAL_MERGE_WORKERS": "0"}

COLUMNS = ("version", "client", "outcome", "first byte", "all bytes", "times a merged entry", "bytes through functions")


@dataclass(frozen=True)
class Row:
    version: str
    client: str
    outcome: str
    first_byte: float | None
    """Seconds since the download was asked for; of @actions/cache, until it asked the store."""
    seconds: float
    through_functions: int

    def cells(self, merged_seconds: float) -> tuple[str, ...]:
        first_byte = "" if self.first_byte is None else f"{self.first_byte:.1f} s"
        ratio = f"{self.seconds / merged_seconds:.1f}"
        return (
            self.version,
            self.client,
            self.outcome,
            first_byte,
            f"{self.seconds:.1f} s",
            ratio,
            f"{self.through_functions:,}",
        )


@dataclass(frozen=True)
class Bench:
    blocks: Sequence[bytes]
    directory: Path

    @contextmanager
    def run(self, settings: Mapping[str, str]) -> Iterator[LocalRun]:
        """Args: settings that aren't the usual ones."""
        say("starting a local run ...")
        with local_run(self.directory / uuid.uuid4().hex, settings) as run:
            yield run

    def saved(self, gateway: Gateway) -> Job:
        """A job that has just saved the entry as `key`."""
        job = Job(gateway.url, new_token())
        say("saving 705 MB in eleven blocks ...")
        job.save("key", *self.blocks)
        return job

    def bare(self, version: str, gateway: Gateway, job: Job) -> Row:
        say(f"{version}: restoring by a bare connection ...")
        before = through_functions(gateway)
        reading = read(job.download_url("key"))
        through = through_functions(gateway) - before
        return Row(version, "bare", self._outcome(reading), reading.first_byte_after, reading.ended_after, through)

    def _outcome(self, reading: Reading) -> str:
        if reading.broken:
            return f"broken after {reading.size / MB:,.0f} MB"
        if reading.digest != self.digest:
            return f"WRONG: {reading.status}, {reading.size:,} bytes"
        return "right, by redirect" if reading.redirects else "right"

    @property
    def digest(self) -> str:
        sha = sha256()
        for block in self.blocks:
            sha.update(block)
        return sha.hexdigest()

    def real_client(self, version: str, gateway: Gateway) -> Row:
        """Saves and restores in one go, two steps of a job."""
        workspace = self.directory / f"workspace-{uuid.uuid4().hex}"
        workspace.mkdir()
        data = workspace / "data"
        with data.open("wb") as file:
            file.writelines(self.blocks)
        client = ActionsCache(gateway.url, workspace, new_token())
        say(f"{version}: saving by @actions/cache ...")
        client.save(["data"], "key")
        data.unlink()
        before = through_functions(gateway)
        say(f"{version}: restoring by @actions/cache ...")
        restored = client.restore(["data"], "key")
        through = through_functions(gateway) - before
        downloads = restored.downloads
        if restored.result != "key" or not data.exists():
            outcome = next((line for line in restored.log if "::warning" in line), "a cache miss")[:90]
            return Row(version, "@actions/cache", f"lost: {outcome}", None, restored.seconds, through)
        with data.open("rb") as file:
            right = file_digest(file, "sha256").hexdigest() == self.digest
        outcome = ("right" if right else "WRONG") + (", by redirect" if downloads[0].is_redirect else "")
        redirected_after = downloads[-1].began - downloads[0].began
        data.unlink()
        return Row(version, "@actions/cache", outcome, redirected_after, restored.seconds, through)


def through_functions(gateway: Gateway) -> int:
    return gateway.through_api.total + gateway.through_download.total


def new_token() -> str:
    """Of a repository of its own."""
    return runtime_token(repository=str(uuid.uuid4().int % 10**12))


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def measure(bench: Bench) -> tuple[list[Row], float]:
    """The rows, and how long a merged entry takes."""
    rows, rule, plain = [], "delivery rule", "plain streaming"
    with bench.run({}) as run, run.behind(AWS) as gateway:
        job = bench.saved(gateway)
        first = bench.bare(rule, gateway, job)
        job.wait_until_merged("key")
        merged = bench.bare("merged before", gateway, job)
        rows += [merged, first, bench.real_client(rule, gateway)]
    with bench.run(FIRST_DOWNLOAD) as run, run.behind(AWS, FIRST_DOWNLOAD) as gateway:
        rows.append(bench.bare(f"{rule}, merge begun by this download", gateway, bench.saved(gateway)))
    with (
        bench.run(NEVER_MERGED) as run,
        run.behind(AWS, PLAIN_STREAMING) as gateway,
        run.behind(AWS, PLAIN_STREAMING) as other,
        ThreadPoolExecutor() as clients,
    ):
        bare = clients.submit(bench.bare, plain, gateway, bench.saved(gateway))
        rows += [bench.real_client(plain, other), bare.result()]
    return rows, merged.seconds


def table(rows: Sequence[Row], merged_seconds: float) -> str:
    lines = [COLUMNS, ("---",) * len(COLUMNS), *(row.cells(merged_seconds) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    blocks = [os.urandom(min(BLOCK_BYTES, ENTRY_BYTES - at)) for at in range(0, ENTRY_BYTES, BLOCK_BYTES)]
    with tempfile.TemporaryDirectory() as directory:
        rows, merged_seconds = measure(Bench(blocks, Path(directory)))
    print(table(rows, merged_seconds))
    print(f"\nAt Lambda's pace alone, without its wall, 705 MB would take {LAMBDA_SECONDS:,.0f} s.")


if __name__ == "__main__":
    main()
