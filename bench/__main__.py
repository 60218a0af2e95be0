"""`make bench`: restores and saves beside plain GETs and PUTs of the same store, as ratios. Prints Markdown.

Takes some five minutes, and 5 GB of disk for a while. Figures of a machine that does other work mean little.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import cases
from bench.cases import ENTRY_BYTES, Row
from bench.scene import store

MIB = 1024 * 1024
CASES = {"restores": cases.restores, "saves": cases.saves}


def rows(names: list[str], rounds: int) -> Iterator[Row]:
    for name in names:
        with tempfile.TemporaryDirectory() as directory, store(Path(directory)) as one:
            for row in CASES[name](one, rounds):
                print(f"{row.what}: {row.ratio:.2f}", file=sys.stderr, flush=True)
                yield row


def table(measured: list[Row]) -> str:
    lines = ["| what | plain | ours | ratio | aim | first byte, plain and ours |", "|---|---|---|---|---|---|"]
    for row in measured:
        first = "" if row.first_bytes is None else " and ".join(f"{1000 * at:.0f} ms" for at in row.first_bytes)
        cells = [row.what, f"{row.plain:.2f} s", f"{row.ours:.2f} s", f"{row.ratio:.2f}", f"{row.target:.2f}", first]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("--case", action="append", choices=sorted(CASES), help="only this one; may be repeated")
    parser.add_argument("--rounds", type=int, default=5, help="of each side; the median counts")
    options = parser.parse_args()
    measured = list(rows(options.case or list(CASES), options.rounds))
    print(table(measured))
    carried = cases.injector_speed()
    fastest = max((ENTRY_BYTES / row.plain for row in measured if row.first_bytes), default=0.0)
    print(f"\nThe injector carries {carried / MIB:,.0f} MiB/s; the plain side used up to {fastest / MIB:,.0f}.")


if __name__ == "__main__":
    main()
