"""`make bench`: prints the tables of docs/design/performance.md in Markdown, each figure beside its yardstick.

Takes the better part of an hour, and 10 GB of disk for a while; `--case` takes one part of it. Figures of a machine
that does other work mean little.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dev.bench import by_hook, cleaning, imports, listings, lookups, memory, merges, restores, workloads
from dev.bench.environment import Row, running_emulators, table

CASES = {
    "restores": restores.restores,
    "restores-while-merging": restores.restores_while_merging,
    "hook": by_hook.by_hook,
    "restore-steps": by_hook.steps,
    "hook-saves": by_hook.saves,
    "saves": restores.saves,
    "lookups": lookups.lookups,
    "listings": listings.listings,
    "merges": merges.merges,
    "imports": imports.imports,
    "memory": memory.memory,
    "cleaning": cleaning.cleaning,
    "workloads": workloads.workloads,
}
COLUMNS = ("what", "beside", "ours", "ratio", "aim", "more")


def rows(names: list[str], rounds: int) -> Iterator[Row]:
    for name in names:
        with tempfile.TemporaryDirectory() as directory, running_emulators(Path(directory)) as emulators:
            for row in CASES[name](emulators, rounds):
                print(*row.cells, sep=" | ", file=sys.stderr, flush=True)
                yield row


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("--case", action="append", choices=CASES, help="only this one; may be repeated")
    parser.add_argument("--rounds", type=int, default=5, help="of each side; the median counts")
    options = parser.parse_args()
    print(table(COLUMNS, [row.cells for row in rows(options.case or list(CASES), options.rounds)]))


if __name__ == "__main__":
    main()
