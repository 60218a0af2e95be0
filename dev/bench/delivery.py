"""`make bench-delivery`: an entry saved a moment ago, restored under AWS's caps by the delivery rule and by streaming.

The caps are emulated (dev/emulation); client, store, merge and the download function's own server are the real ones of
the local run. Prints a table in Markdown; takes some three minutes, and 4 GB of disk for a while.
"""

import os
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import file_digest, sha256
from pathlib import Path

from dev.bench.environment import MB, MIB, new_token, table
from dev.clients.actions_cache import ActionsCache
from dev.clients.wire import Job, Reading, read
from dev.emulation.api_gateway import PLAIN_STREAMING, Caps, Gateway, LocalRun, local_run

ENTRY_BYTES = 705 * MB
BLOCK_BYTES = 64 * MIB
"""Size of a block of @actions/cache: eleven for the entry."""

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
    """Seconds since the download's request; of @actions/cache, until it asked the store."""
    seconds: float
    through_functions: int

    def cells(self, merged_seconds: float) -> tuple[str, ...]:
        first_byte = "" if self.first_byte is None else f"{self.first_byte:.1f} s"
        ratio, through = f"{self.seconds / merged_seconds:.1f}", f"{self.through_functions:,}"
        return (self.version, self.client, self.outcome, first_byte, f"{self.seconds:.1f} s", ratio, through)


def main() -> None:
    blocks = [os.urandom(min(BLOCK_BYTES, ENTRY_BYTES - at)) for at in range(0, ENTRY_BYTES, BLOCK_BYTES)]
    with tempfile.TemporaryDirectory() as directory:
        rows, merged_seconds = Bench(blocks, Path(directory)).measure()
    print(table(COLUMNS, [row.cells(merged_seconds) for row in rows]))
    print(f"\nAt Lambda's pace alone, without its wall, 705 MB would take {LAMBDA_SECONDS:,.0f} s.")


@dataclass(frozen=True)
class Bench:
    blocks: Sequence[bytes]
    directory: Path

    def measure(self) -> tuple[list[Row], float]:
        """Return the rows, and the seconds of a merged entry."""
        rows, rule, plain = [], "delivery rule", "plain streaming"
        with self._run({}) as run, run.behind(AWS) as gateway:
            job = self._saved(gateway)
            first = self._bare(rule, gateway, job)
            job.wait_until_merged("key")
            merged = self._bare("merged before", gateway, job)
            rows += [merged, first, self._real_client(rule, gateway)]
        with self._run(FIRST_DOWNLOAD) as run, run.behind(AWS, FIRST_DOWNLOAD) as gateway:
            rows.append(self._bare(f"{rule}, merge begun by this download", gateway, self._saved(gateway)))
        with (
            self._run(NEVER_MERGED) as run,
            run.behind(AWS, PLAIN_STREAMING) as gateway,
            run.behind(AWS, PLAIN_STREAMING) as other,
            ThreadPoolExecutor() as executor,
        ):
            bare = executor.submit(self._bare, plain, gateway, self._saved(gateway))
            rows += [self._real_client(plain, other), bare.result()]
        return rows, merged.seconds

    @contextmanager
    def _run(self, settings: Mapping[str, str]) -> Iterator[LocalRun]:
        say("starting a local run ...")
        with local_run(self.directory / uuid.uuid4().hex, settings) as run:
            yield run

    def _saved(self, gateway: Gateway) -> Job:
        """Save the entry as `key`, and return the job."""
        job = Job(gateway.url, new_token())
        say("saving 705 MB in eleven blocks ...")
        job.save("key", *self.blocks)
        return job

    def _bare(self, version: str, gateway: Gateway, job: Job) -> Row:
        say(f"{version}: restoring by a bare connection ...")
        before = through_functions(gateway)
        reading = read(job.download_url("key"))
        through = through_functions(gateway) - before
        return Row(version, "bare", self._outcome(reading), reading.first_byte_after, reading.ended_after, through)

    def _outcome(self, reading: Reading) -> str:
        if reading.broken:
            return f"broken after {reading.size / MB:,.0f} MB"
        if reading.digest != self._digest:
            return f"WRONG: {reading.status}, {reading.size:,} bytes"
        return "right, by redirect" if reading.redirects else "right"

    @cached_property
    def _digest(self) -> str:
        sha = sha256()
        for block in self.blocks:
            sha.update(block)
        return sha.hexdigest()

    def _real_client(self, version: str, gateway: Gateway) -> Row:
        """Save and restore at once, as two steps of a job."""
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
        if restored.result != "key" or not data.exists():
            warning = next((line for line in restored.log if "::warning" in line), "a cache miss")[:90]
            return Row(version, "@actions/cache", f"lost: {warning}", None, restored.seconds, through)
        with data.open("rb") as file:
            outcome = "right" if file_digest(file, "sha256").hexdigest() == self._digest else "WRONG"
        data.unlink()
        first, last = restored.downloads[0], restored.downloads[-1]
        if first.is_redirect:
            outcome += ", by redirect"
        return Row(version, "@actions/cache", outcome, last.began - first.began, restored.seconds, through)


def through_functions(gateway: Gateway) -> int:
    return gateway.through_api.total + gateway.through_download.total


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
