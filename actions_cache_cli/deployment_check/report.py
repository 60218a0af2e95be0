"""Results for people, line by line as they come, and for programs."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from actions_cache_cli.deployment_check.check import Outcome, Result
from actions_cache_cli.doctor.printable import as_json as document

COLOURS = {Outcome.OK: "green", Outcome.FAIL: "bold red", Outcome.SKIP: "yellow"}


def line(result: Result) -> str:
    return f"{result.outcome:<4}  {result.title}: {result.detail}"


def show(console: Console, result: Result) -> None:
    """One line a result; where it isn't a terminal, without colours and never wrapped."""
    colour, text = COLOURS[result.outcome], line(result)
    if console.is_terminal:
        head = f"{result.outcome:<4}"
        console.print(f"[{colour}]{head}[/]{escape(text.removeprefix(head))}", highlight=False, soft_wrap=True)
    else:
        console.file.write(f"{text}\n")
        console.file.flush()


def summary(results: Sequence[Result], megabytes: float) -> str:
    count = {outcome: sum(result.outcome is outcome for result in results) for outcome in Outcome}
    verdict = "something is wrong" if count[Outcome.FAIL] else "nothing failed"
    return (
        f"{verdict}: {count[Outcome.OK]} ok, {count[Outcome.FAIL]} failed, {count[Outcome.SKIP]} skipped; "
        f"{megabytes:.0f} MB went over the net"
    )


def as_json(url: str, results: Sequence[Result]) -> str:
    rows = [{"title": result.title, "outcome": result.outcome, "detail": result.detail} for result in results]
    return document({"url": url, "failed": count_failed(results), "checks": rows}, indent=2)


def count_failed(results: Sequence[Result]) -> int:
    return sum(result.outcome is Outcome.FAIL for result in results)
