"""`make mutants`: puts known defects into copies of the checkout one by one, and says which test kills each."""

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from dev.mutants.mutant import Mutant, NoLongerApplies
from dev.mutants.run import ROOT, NotGreen, Result, Verdict, judge_all
from dev.mutants.tables import MUTANTS

STYLES = {Verdict.KILLED: "green", Verdict.SURVIVED: "bold red", Verdict.BROKEN: "bold red"}


def main() -> int:
    parser = argparse.ArgumentParser(prog="mutants")
    parser.add_argument("--list", action="store_true", help="only list the mutants")
    parser.add_argument("--only", metavar="WORDS", default="", help="only the mutants with these words in their name")
    parser.add_argument("--workers", type=int, default=2, help="mutants that are tested at the same time")
    options = parser.parse_args()
    chosen = {rule: [mutant for mutant in mutants if options.only in mutant.name] for rule, mutants in MUTANTS.items()}
    mutants = [mutant for of_rule in chosen.values() for mutant in of_rule]
    console = Console()
    if not mutants:
        console.print(f"no mutant has {options.only!r} in its name; --list lists them", markup=False)
        return 2
    if options.list:
        console.print(listed(chosen))
        return 0
    try:
        results = judged(mutants, options.workers, console)
    except NoLongerApplies as error:
        console.print(f"the table has to follow the product. {error}", markup=False)
        return 2
    except NotGreen as error:
        console.print(f"{error}\nthese tests fail without any mutant, so they would kill all", markup=False)
        return 2
    console.print(report(chosen, results))
    wrong = [result for result in results.values() if result.verdict is not Verdict.KILLED]
    console.print(f"{len(mutants) - len(wrong)} of {len(mutants)} mutants were killed")
    return 1 if wrong else 0


def judged(mutants: list[Mutant], workers: int, console: Console) -> dict[Mutant, Result]:
    """Return each mutant's result, and print it as soon as it is there."""
    for mutant in mutants:
        mutant.text(ROOT)
    results: dict[Mutant, Result] = {}
    console.print(f"running the tests of {len(mutants)} mutants without any of them")
    with tempfile.TemporaryDirectory() as directory:
        for result in judge_all(mutants, Path(directory), workers):
            results[result.mutant] = result
            line = f"{len(results)} of {len(mutants)}  {result.verdict}: {result.mutant.name} ({result.why})"
            console.print(line, style=STYLES[result.verdict], markup=False, highlight=False, soft_wrap=True)
    return results


def listed(chosen: dict[str, list[Mutant]]) -> Table:
    table = Table("what is wrong", "where")
    for rule, mutants in chosen.items():
        for mutant in mutants:
            table.add_row(f"{rule}: {mutant.name}", mutant.file)
    return table


def report(chosen: dict[str, list[Mutant]], results: dict[Mutant, Result]) -> Table:
    table = Table("what is wrong", "verdict", Column("by", overflow="fold"), show_lines=True)
    for rule, mutants in chosen.items():
        for mutant in mutants:
            result = results[mutant]
            table.add_row(f"{rule}: {mutant.name}", f"[{STYLES[result.verdict]}]{result.verdict}", Text(result.why))
    return table


if __name__ == "__main__":
    sys.exit(main())
