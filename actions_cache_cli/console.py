"""Shows a command's results as rows and lines or as one JSON document, and its progress on standard error."""

import datetime as dt
import re
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from actions_cache.domain.refs import full_ref
from actions_cache.domain.timing import SECOND, Millis
from actions_cache_cli.doctor.report import as_json, printable
from actions_cache_cli.table import LEAST_CELLS, Column, cut, lay_out

LOG_SECONDS = 30
"""Seconds between lines of progress where there is no terminal."""

UNITS = ("KiB", "MiB", "GiB", "TiB")
KIB = 1024


class CommandFailed(click.ClickException):
    """Raised when nothing or not all could be done; the message is for the user."""

    exit_code = 2

    def format_message(self) -> str:
        return printable(self.message)


class ReaderGone(Exception):
    """Raised when nobody reads standard output any more, as `head` after its last line."""


def write(line: str) -> None:
    try:
        click.echo(line)
    except BrokenPipeError:
        # Click would exit with 1, which means trouble here.
        raise ReaderGone from None


def closing_help(*examples: str, fields: str = "") -> str:
    """Return the end of a command's help.

    Args:
        examples: Command lines, without the program's name.
        fields: The fields of its JSON document; empty if the management API has the same.
    """
    # Click wraps no paragraph that begins with \\b.
    lines = "\n".join(f"  actions-cache {example}" for example in examples)
    written = f"JSON: {fields}" if fields else "JSON: as the management API's (docs/operate/management.md)."
    return f"\b\nExamples:\n{lines}\n\n{written}"


class Bar(Protocol):
    def advance(self, note: str = "") -> None: ...


def terminal_width() -> int | None:
    """Return the width of the terminal that shows standard output; None for a pipe or a file."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


@dataclass(frozen=True)
class Output:
    """The output of a command.

    Args:
        as_json: Whether one JSON document, and nothing else, goes to standard output.
        width: The width that lines are cut to; None for whole lines.
        notes: Where progress is shown.
    """

    as_json: bool
    width: int | None = None
    notes: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))

    def say(self, line: str) -> None:
        if not self.as_json:
            write(printable(line))

    def rows(self, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
        """Show a table, of which nothing is cut in a pipe, so that `grep` and `cut` find whole values."""
        cells = [tuple(map(printable, row)) for row in rows]
        if cells and not self.as_json:
            for line in lay_out(columns, cells, self.width):
                self.say(line)

    def ref(self, ref: str) -> str:
        """Return a ref as people write it on a terminal, and in full where a program may read it."""
        return ref if self.width is None else short_ref(ref)

    def brief(self, chosen: str) -> str:
        """Return a name that a job chose, cut on a terminal so that the sentence around it has room."""
        whole = printable(chosen)
        return whole if self.width is None else cut(whole, max(LEAST_CELLS, self.width // 2))

    def document(self, document: Mapping[str, Any]) -> None:
        if self.as_json:
            write(as_json(document))

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
        so_far = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) if total else ("{task.completed}",)
        columns = (SpinnerColumn(), "{task.description}", *so_far, TextColumn("{task.fields[note]}", markup=False))
        with Progress(*columns, console=self.notes, transient=True) as bars:
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
    """Write bytes for people: 1.5 GiB is 1,610,612,736."""
    if size < KIB:
        return f"{size} B"
    value = float(size)
    for unit in UNITS:
        value /= KIB
        # 1023.95 would be shown as 1024.0.
        if round(value, 1) < KIB or unit == UNITS[-1]:
            break
    return f"{value:.1f} {unit}"


def moment(at: Millis) -> str:
    """Write a time for people, to the minute, in a form that options such as --older-than take."""
    return dt.datetime.fromtimestamp(at / SECOND, dt.UTC).strftime("%Y-%m-%d %H:%MZ")


_SHORT = (
    (re.compile("refs/heads/(.+)"), r"\1"),
    (re.compile("refs/pull/([0-9]+)/merge"), r"#\1"),
    (re.compile("refs/(tags/.+)"), r"\1"),
)


def short_ref(ref: str) -> str:
    """Return a ref as people write it, unless that would mean another ref."""
    for pattern, shorter in _SHORT:
        if (found := pattern.fullmatch(ref)) and full_ref(short := found.expand(shorter)) == ref:
            return short
    return ref


def counted(number: int, thing: str, things: str | None = None) -> str:
    return f"{number} {thing if number == 1 else things or thing + 's'}"
