"""`make soak SECONDS=900 CLIENTS=32`. Exit code 0: nothing was violated. 1: something was, and is printed."""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

import dev  # noqa: F401 - puts the core's packages on the path
from tests.guarantees.soak.run import Soak, soak

MEGABYTE = 1_000_000


def show(found: Soak, console: Console) -> None:
    console.print(_operations(found), _memory(found), _leftovers(found))
    if not found.violations:
        console.print("No violation.")
    for kind, number in found.violations.items():
        console.print(f"VIOLATION {kind}: {number}", markup=False)
    examples = [*found.tally.examples.values(), *found.audit.violations.values(), found.errors_logged]
    for details in examples:
        for detail in details[:5]:
            console.print(f"  {detail}", markup=False)


def _operations(found: Soak) -> Table:
    tally = found.tally
    table = Table("operation", "number", "median s", "99% s", "max s", title=f"{found.clients} clients")
    for kind, number in sorted(tally.operations.items()):
        times = sorted(tally.seconds[kind])
        slow = times[min(len(times) - 1, int(0.99 * len(times)))]
        table.add_row(kind, str(number), f"{statistics.median(times):.3f}", f"{slow:.2f}", f"{times[-1]:.2f}")
    table.add_section()
    table.add_row("all", str(tally.operations.total()), f"{tally.operations.total() / found.seconds:.1f} a second")
    sent = tally.sent_bytes / MEGABYTE
    table.add_row("sent", f"{sent:.0f} MB", f"{sent / found.seconds:.1f} MB/s")
    checked = tally.checked_bytes / MEGABYTE
    table.add_row("read and checked", f"{checked:.0f} MB", f"{checked / found.seconds:.1f} MB/s")
    table.add_section()
    for source, number in sorted(tally.sources.items()):
        table.add_row(f"read from {source}", str(number))
    return table


def _memory(found: Soak) -> Table:
    table = Table("process", "peak MiB", "typical MiB", "growth MiB", "slope MiB/h", title="Resident memory")
    for name, memory in sorted(found.memories.items()):
        table.add_row(
            name,
            f"{memory.peak_mib:.0f}",
            f"{memory.typical_mib:.0f}",
            f"{memory.growth_mib:+.1f}",
            f"{memory.slope_mib_per_hour:+.0f}",
        )
    return table


def _leftovers(found: Soak) -> Table:
    audit = found.audit
    table = Table("left", "number", title="Bucket and tables at the end")
    table.add_row("archives in the table", str(audit.archives))
    table.add_row("entries", str(audit.entries))
    table.add_row("objects", f"{audit.objects} ({audit.object_bytes / MEGABYTE:.0f} MB)")
    table.add_row("objects missing", str(len(audit.missing)))
    table.add_row("objects of no archive", str(len(audit.unowned)))
    table.add_row("orphans older than the limit", str(len(audit.overdue)))
    table.add_row("orphans that wait for their sweep", str(audit.awaiting_sweep))
    table.add_row("multipart uploads left open", str(audit.open_uploads))
    return table


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.guarantees.soak")
    parser.add_argument("--seconds", type=float, default=900, help="of work; three minutes of waiting follow")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        found = soak(Path(directory), options.seconds, options.clients, options.seed)
    show(found, Console(width=110))
    return 1 if found.violations else 0


if __name__ == "__main__":
    sys.exit(main())
