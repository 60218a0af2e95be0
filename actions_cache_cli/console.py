"""What a command shows: rows and lines, or one JSON document; and on standard error, how far it has come."""

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
"""Between lines of progress where nobody watches a terminal."""

UNITS = ("kB", "MB", "GB", "TB")


class CommandFailed(click.ClickException):
    """Nothing could be done, or not all; the message is what its user reads."""

    exit_code = 2

    def format_message(self) -> str:
        return printable(self.message)


class Bar(Protocol):
    def advance(self, note: str = "") -> None: ...


@dataclass(frozen=True)
class Output:
    """Args: as_json: one document on standard output, and nothing else there."""

    as_json: bool
    notes: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))

    def say(self, line: str) -> None:
        if not self.as_json:
            click.echo(printable(line))

    def rows(self, titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Columns as wide as their longest cell: a line is never broken, so that `grep` and `cut` can take it."""
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
    def progress(self, what: str, total: int | None = None) -> Iterator[Bar]:
        """Args: total: None where nobody knows."""
        if not self.notes.is_terminal:
            yield _Lines(what, total)
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        note = TextColumn("{task.fields[note]}", markup=False)
        with Progress(*columns, TimeRemainingColumn(), note, console=self.notes, transient=True) as bars:
            yield _Moving(bars, bars.add_task(what, total=total, note=""))


@dataclass(frozen=True)
class _Moving:
    bars: Progress
    task: Any

    def advance(self, note: str = "") -> None:
        self.bars.update(self.task, advance=1, note=printable(note))


@dataclass
class _Lines:
    what: str
    total: int | None
    done: int = 0
    told_at: float = field(default_factory=time.monotonic)

    def advance(self, note: str = "") -> None:
        self.done += 1
        if time.monotonic() - self.told_at < LOG_SECONDS:
            return
        self.told_at = time.monotonic()
        of = f" of {self.total}" if self.total is not None else ""
        sys.stderr.write(f"{self.what}: {self.done}{of} {printable(note)}".rstrip() + "\n")


def amount(size: int) -> str:
    """Bytes for people: 1.5 GB is 1,500,000,000."""
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
