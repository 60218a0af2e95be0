"""Merges: of long blocks, which the store copies; of short ones, which pass the worker; and of very many."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from actions_cache.aws.sqs import encode_message
from dev.bench.environment import Store, exchange_all
from dev.bench.latency_proxy import injector
from dev.bench.merge_worker import Call
from dev.bench.row import Row
from dev.bench.workbench import Workbench, workbench
from dev.clients.driver import name
from dev.local.template import ROOT
from tests.support.fakes import merge_of_copies

MIB = 1024 * 1024
MILLISECONDS = 100
FEW, MANY = 1_000, 10_000
LONG, SHORT = [64 * MIB] * 11, [MIB] * 705
GATHERED = 8
"""Blocks of 1 MiB that the merge uploads as one part."""


def merges(store: Store, rounds: int) -> Iterator[Row]:
    with injector(store.port, MILLISECONDS) as endpoint, workbench(store, AWS_ENDPOINT_URL_S3=endpoint) as bench:
        yield _of_long_blocks(bench, rounds)
    with workbench(store) as bench:
        yield from _of_short_blocks(bench, rounds)
    yield _of_very_many()


def _of_very_many() -> Row:
    """By a store that takes no time."""
    (few_seconds, few_bytes), (many_seconds, many_bytes) = (merge_of_copies(count, 5 * MIB) for count in (FEW, MANY))
    return Row(
        f"merge of {MANY:,} parts, {5 * MANY * MIB / 1e9:.0f} GB, on a simulated store: the worker's own",
        f"{FEW:,} parts: {few_seconds:.2f} s, {few_bytes / MIB:.0f} MiB",
        f"{many_seconds:.2f} s, {many_bytes / MIB:.0f} MiB",
        many_seconds / few_seconds,
        f"about {MANY // FEW}",
    )


def _of_long_blocks(bench: Workbench, rounds: int) -> Row:
    found = []
    for _ in range(rounds):
        bench.upload(name(key := os.urandom(8).hex()), LONG)
        merged, calls = _merged(bench, key, sum(LONG))
        copies = [call for call in calls if call.operation == "UploadPartCopy"]
        [complete] = (call for call in calls if call.operation == "CompleteMultipartUpload")
        slowest = max(copy.ended - copy.began for copy in copies) + complete.ended - complete.began
        together = max(copy.began for copy in copies) < min(copy.ended for copy in copies)
        passed = sum(call.size for call in calls if call.operation == "UploadPart")
        found.append((merged["seconds"] / slowest, slowest, merged["seconds"], together, passed))
    ratio, slowest, ours, *_ = sorted(found)[len(found) // 2]
    in_flight = "all" if all(it[3] for it in found) else "not all"
    return Row(
        f"merge of 11 blocks of 64 MiB, {MILLISECONDS} ms a request",
        f"slowest copy and Complete {slowest:.2f} s",
        f"{ours:.2f} s",
        ratio,
        "≤ 1.30",
        f"{in_flight} copies in flight together; {max(it[4] for it in found)} bytes through the worker",
    )


def _of_short_blocks(bench: Workbench, rounds: int) -> Iterator[Row]:
    triples = []
    for _ in range(rounds):
        objects = bench.upload(name(key := os.urandom(8).hex()), SHORT)
        plain = _read_and_written(bench, objects)
        merged, _calls = _merged(bench, key, sum(SHORT))
        triples.append((plain, merged["seconds"], merged["resident"]))
    plain, ours, resident = (statistics.median(it) for it in zip(*triples, strict=True))
    what = "merge of 705 blocks of 1 MiB"
    yield Row(what, f"plain reads and writes {plain:.2f} s", f"{ours:.2f} s", plain / ours, "≥ 0.80")
    yield Row(f"{what}: memory", "", f"{resident / MIB:.0f} MiB", None, "≤ 256 MiB")


def _read_and_written(bench: Workbench, objects: list[str]) -> float:
    """Seconds for what the merge of short blocks moves, by bare sockets: first all reads, then all writes."""
    reads = [("GET", bench.presigned("get_object", key), 0) for key in objects]
    writes = [
        ("PUT", bench.presigned("put_object", f"plain/{at}"), sum(SHORT[at : at + GATHERED]))
        for at in range(0, len(SHORT), GATHERED)
    ]
    return exchange_all(reads, at_once=8) + exchange_all(writes, at_once=8)


def _merged(bench: Workbench, key: str, size: int) -> tuple[dict[str, Any], list[Call]]:
    bench.driver.services.finalize(name(key), size)
    [message] = bench.driver.messages()
    answer = subprocess.run(
        [sys.executable, "-m", "dev.bench.merge_worker"],
        cwd=ROOT,
        env=os.environ | bench.variables | {"PYTHONPATH": f"{ROOT}:{ROOT / 'layers' / 'core'}"},
        input=encode_message(message),
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        raise RuntimeError(answer.stderr)
    merged = json.loads(answer.stdout.splitlines()[-1])
    if merged["outcome"] != "merged":
        raise RuntimeError(merged["outcome"])
    return merged, [Call(**call) for call in merged["calls"]]
