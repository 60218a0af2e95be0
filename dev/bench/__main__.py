"""`make bench`: what docs/performance.md has. Prints Markdown, each figure beside what it is measured by.

Takes the better part of an hour, and 10 GB of disk for a while; `--case` takes one part of it. Figures of a machine
that does other work mean little.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dev.bench import cleaning, imports, lookups, many_parts, memory, plots
from dev.bench import merges as merging
from dev.bench import restores as transfers
from dev.bench.environment import store
from dev.bench.row import Row, table

CASES = {
    "restores": transfers.restores,
    "restores-while-merging": transfers.restores_while_merging,
    "saves": transfers.saves,
    "injector": transfers.injector_alone,
    "lookups": lookups.lookups,
    "many-parts": many_parts.many_parts,
    "merges": merging.merges,
    "imports": imports.imports,
    "memory": memory.memory,
    "cleaning": cleaning.cleaning,
    "plots": plots.plots,
}


def rows(names: list[str], rounds: int) -> Iterator[Row]:
    for name in names:
        with tempfile.TemporaryDirectory() as directory, store(Path(directory)) as one:
            for row in CASES[name](one, rounds):
                print(*row.cells, sep=" | ", file=sys.stderr, flush=True)
                yield row


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("--case", action="append", choices=CASES, help="only this one; may be repeated")
    parser.add_argument("--rounds", type=int, default=5, help="of each side; the median counts")
    options = parser.parse_args()
    print(table(list(rows(options.case or list(CASES), options.rounds))))


if __name__ == "__main__":
    main()
