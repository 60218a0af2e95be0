"""Shows a command's results as rows and lines or as one JSON document, and its progress on standard error."""

import datetime as dt
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from actions_cache.domain.timing import SECOND, Millis
from actions_cache_cli.doctor.report import as_json, printable

LOG_SECONDS = 30
"""Seconds between lines of progress where there is no terminal."""

UNITS = ("kB", "MB", "GB", "TB")


class CommandFailed(click.ClickException):
    """Raised when nothing or not all could be done; the message is for the user."""

    exit_code = 2

    def format_message(self) -> str:
        return printable(self.message)


class Bar(Protocol):
    def advance(self, note: str = "") -> None: ...


@dataclass(frozen=True)
class Output:
    """The output of a command.

    Args:
        as_json: Whether one JSON document, and nothing else, goes to standard output.
        notes: Where progress is shown.
    """

    as_json: bool
    notes: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))

    def say(self, line: str) -> None:
        if not self.as_json:
            click.echo(printable(line))

    def rows(self, titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Show columns as wide as their longest cell. A line is never broken, so that `grep` and `cut` can read it."""
        if self.as_json:
            return
        lines = [tuple(titles), *(tuple(map(printable, row)) for row in rows)]
        if len(lines) == 1:
            return
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            self.say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())

    def document(self, document: Mapping[str, Any]) -> None:
        if self.as_json:
            click.echo(as_json(document))

    @contextmanager
    def progress(self, things: str, total: int | None = None) -> Iterator[Bar]:
        """Show progress while the block runs.

        Args:
            things: Name of the things that are counted.
            total: Their number; None if it isn't known.
        """
        if not self.notes.is_terminal:
            yield _Lines(things, total)
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        note = TextColumn("{task.fields[note]}", markup=False)
        with Progress(*columns, TimeRemainingColumn(), note, console=self.notes, transient=True) as bars:
            yield _Moving(bars, bars.add_task(things, total=total, note=""))


@dataclass(frozen=True)
class _Moving:
    bars: Progress
    task: Any

    def advance(self, note: str = "") -> None:
        self.bars.update(self.task, advance=1, note=printable(note))


@dataclass
class _Lines:
    things: str
    total: int | None
    done: int = 0
    said_at: float = field(default_factory=time.monotonic)

    def advance(self, note: str = "") -> None:
        self.done += 1
        if time.monotonic() - self.said_at < LOG_SECONDS:
            return
        self.said_at = time.monotonic()
        of = f" of {self.total}" if self.total is not None else ""
        sys.stderr.write(f"{self.things}: {self.done}{of} {printable(note)}".rstrip() + "\n")


def amount(size: int) -> str:
    """Write bytes for people; 1.5 GB is 1,500,000,000."""
    if size < 1000:  # noqa: PLR2004 - the first of UNITS
        return f"{size} B"
    value = float(size)
    for unit in UNITS:
        value /= 1000
        if value < 1000 or unit == UNITS[-1]:  # noqa: PLR2004
            break
    return f"{value:.1f} {unit}"


def moment(at: Millis) -> str:
    return dt.datetime.fromtimestamp(at / SECOND, dt.UTC).strftime("%Y-%m-%d %H:%M")


def counted(number: int, thing: str, things: str | None = None) -> str:
    return f"{number} {thing if number == 1 else things or thing + 's'}"
