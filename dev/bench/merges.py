"""Merges of long blocks, which S3 copies, and of short ones, which pass the worker.

`python -m dev.bench.merges` is the worker, in a process of its own as Lambda starts it: it reads the queue's message
from standard input, and prints what the merge took as a line of JSON. The settings are the environment's.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from actions_cache.aws.sqs import decode_message, encode_message
from actions_cache.domain.merge_plan import PASSED_SECONDS_PER_MIB, READ_SECONDS
from dev.bench.environment import MIB, Emulators, Row, bucket_url, peak_memory, running_driver, upload
from dev.bench.latency_proxy import latency_proxy
from dev.bench.load_generator import exchange_all
from dev.clients.driver import CacheDriver, name, plenty
from dev.local.template import ROOT

KIB = 1024
MILLISECONDS = 100
LONG, SHORT = [64 * MIB] * 11, [MIB] * 705
GATHERED = 8
"""Number of blocks of 1 MiB that the merge uploads as one part."""


class Call(NamedTuple):
    operation: str
    began: float
    ended: float
    """Seconds since the merge began."""
    size: int
    """Number of the archive's bytes that passed the worker."""


@dataclass(frozen=True)
class Merged:
    outcome: str
    seconds: float
    processor_seconds: float
    memory: int
    """Most bytes that were resident."""
    calls: list[Call]

    def named(self, operation: str) -> list[Call]:
        return [call for call in self.calls if call.operation == operation]


def merges(emulators: Emulators, rounds: int) -> Iterator[Row]:
    with (
        latency_proxy(emulators.store_port, MILLISECONDS) as endpoint,
        running_driver(emulators, AWS_ENDPOINT_URL_S3=endpoint) as driver,
    ):
        yield _of_long_blocks(driver, rounds)
    with running_driver(emulators) as driver:
        yield from _of_short_blocks(driver, rounds)
        yield from _speeds(driver)


def _of_long_blocks(driver: CacheDriver, rounds: int) -> Row:
    found = []
    for _ in range(rounds):
        upload(driver, name(key := os.urandom(8).hex()), LONG)
        merged = _merged(driver, key, sum(LONG))
        copies = merged.named("UploadPartCopy")
        [complete] = merged.named("CompleteMultipartUpload")
        slowest = max(copy.ended - copy.began for copy in copies) + complete.ended - complete.began
        together = max(copy.began for copy in copies) < min(copy.ended for copy in copies)
        passed = sum(call.size for call in merged.named("UploadPart"))
        found.append((merged.seconds / slowest, slowest, merged.seconds, together, passed))
    ratio, slowest, ours, *_ = sorted(found)[len(found) // 2]
    in_flight = "all" if all(together for *_, together, _ in found) else "not all"
    return Row(
        f"merge of 11 blocks of 64 MiB, {MILLISECONDS} ms a request",
        f"slowest copy and Complete {slowest:.2f} s",
        f"{ours:.2f} s",
        ratio,
        "≤ 1.30",
        f"{in_flight} copies in flight together; {max(passed for *_, passed in found)} bytes through the worker",
    )


def _of_short_blocks(driver: CacheDriver, rounds: int) -> Iterator[Row]:
    triples = []
    for _ in range(rounds):
        keys = upload(driver, name(key := os.urandom(8).hex()), SHORT)
        plain = _read_and_written(driver, keys)
        merged = _merged(driver, key, sum(SHORT))
        triples.append((plain, merged.seconds, merged.memory))
    plain, ours, memory = (statistics.median(values) for values in zip(*triples, strict=True))
    what = "merge of 705 blocks of 1 MiB"
    yield Row(what, f"plain reads and writes {plain:.2f} s", f"{ours:.2f} s", plain / ours, "≥ 0.80")
    yield Row(f"{what}: memory", "", f"{memory / MIB:.0f} MiB", None, "≤ 256 MiB")


def _speeds(driver: CacheDriver) -> Iterator[Row]:
    """Measure the processor time of a read and of a MiB, by which too large uploads are refused."""
    tiny, short = [64 * KIB] * 1600, [MIB] * 400
    of_tiny, of_short = (_processor_seconds(driver, sizes) for sizes in (tiny, short))
    # Two equations: reads and MiB of each.
    per_read = (of_tiny - of_short * sum(tiny) / sum(short)) / (len(tiny) - len(short) * sum(tiny) / sum(short))
    per_mib = (of_short - per_read * len(short)) / (sum(short) / MIB)
    for what, measured, bound in (("read", per_read, READ_SECONDS), ("MiB", per_mib, PASSED_SECONDS_PER_MIB)):
        yield Row(
            f"processor time of a merge's {what}",
            f"assumed {1000 * bound:.1f} ms",
            f"{1000 * measured:.1f} ms",
            measured / bound,
            "≤ 1",
        )


def _processor_seconds(driver: CacheDriver, sizes: list[int]) -> float:
    upload(driver, name(key := os.urandom(8).hex()), sizes)
    return _merged(driver, key, sum(sizes)).processor_seconds


def _read_and_written(driver: CacheDriver, keys: list[str]) -> float:
    """Read all that a merge of short blocks reads, then write what it writes, by bare sockets; return the seconds."""
    reads = [("GET", bucket_url(driver, "get_object", key), 0) for key in keys]
    writes = [
        ("PUT", bucket_url(driver, "put_object", f"plain/{at}"), sum(SHORT[at : at + GATHERED]))
        for at in range(0, len(SHORT), GATHERED)
    ]
    return exchange_all(reads, at_once=8) + exchange_all(writes, at_once=8)


def _merged(driver: CacheDriver, key: str, size: int) -> Merged:
    driver.services.finalize(name(key), size)
    [message] = driver.messages()
    answer = subprocess.run(
        [sys.executable, "-m", "dev.bench.merges"],
        cwd=ROOT,
        env=os.environ | driver.variables | {"PYTHONPATH": f"{ROOT}:{ROOT / 'layers' / 'core'}"},
        input=encode_message(message),
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        raise RuntimeError(answer.stderr)
    found = json.loads(answer.stdout.splitlines()[-1])
    merged = Merged(**found | {"calls": [Call(*call) for call in found["calls"]]})
    if merged.outcome != "merged":
        raise RuntimeError(merged.outcome)
    return merged


def main() -> None:
    # The function's environment is needed for its import.
    from functions.merge.handler import services  # noqa: PLC0415

    worker, message = services(), decode_message(sys.stdin.read())
    calls: list[Call] = []
    began_at: ContextVar[float] = ContextVar("began_at")
    sent: ContextVar[int] = ContextVar("sent", default=0)

    def note_begin(params: dict[str, Any], model: Any, **_: object) -> None:
        began_at.set(time.perf_counter())
        sent.set(params["body"].getbuffer().nbytes if model.name == "UploadPart" else 0)

    def note_end(parsed: dict[str, Any], model: Any, **_: object) -> None:
        got = int(parsed.get("ContentLength", 0)) if model.name == "GetObject" else 0
        calls.append(Call(model.name, began_at.get() - began, time.perf_counter() - began, sent.get() + got))

    events = worker.bucket._s3.meta.events
    events.register("before-call.s3.*", note_begin)
    events.register("after-call.s3.*", note_end)
    worker.table.check()
    began, computed = time.perf_counter(), time.process_time()
    outcome = worker.merge(message, plenty)
    seconds, computed = time.perf_counter() - began, time.process_time() - computed
    print(json.dumps(asdict(Merged(outcome, seconds, computed, peak_memory(os.getpid()), calls))))


if __name__ == "__main__":
    main()
