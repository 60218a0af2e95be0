"""`make soak SECONDS=900 CLIENTS=32`. Exit code 0: nothing was violated. 1: something was, and is printed."""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import dev  # noqa: F401 - puts the core's packages on the path
from tests.guarantees.soak.run import Soak, soak


def report(found: Soak) -> Iterator[str]:
    for kind, seconds in sorted(found.tally.seconds.items()):
        slow = sorted(seconds)[int(0.99 * (len(seconds) - 1))]
        yield f"{len(seconds):6d} x {kind}: median {statistics.median(seconds):.3f} s, 99% within {slow:.2f} s"
    for what, number in sorted(found.tally.counts.items()):
        yield f"{number} {what}"
    for name, memory in sorted(found.memories.items()):
        peak = max(size for _, size in memory.samples)
        slope = f"{memory.slope_mib_per_hour:+.0f} MiB an hour"
        yield f"{name}: {memory.typical_mib:.0f} MiB, at most {peak:.0f}, {slope}"
    audit = found.audit
    yield f"left: {audit.entries} entries, {audit.archives} archives, {audit.objects} objects ({audit.object_bytes} B)"
    yield f"left to be swept: {audit.awaiting_sweep} objects, {audit.open_uploads} open multipart uploads"
    for kind, number in found.violations.items():
        yield f"VIOLATION {kind}: {number}"
    for details in (found.tally.examples, *audit.violations.values(), found.errors_logged):
        yield from (f"  {detail}" for detail in details[:20])
    if not found.violations:
        yield "No violation."


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.guarantees.soak")
    parser.add_argument("--seconds", type=float, default=900, help="of work; three minutes of waiting follow")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        found = soak(Path(directory), options.seconds, options.clients, options.seed)
    print("\n".join(report(found)))  # noqa: T201 - what it is for
    return 1 if found.violations else 0


if __name__ == "__main__":
    sys.exit(main())
