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
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from actions_cache.domain.refs import full_ref
from actions_cache.domain.timing import SECOND, Millis
from actions_cache_cli.doctor.report import as_json, printable

LOG_SECONDS = 30
"""Seconds between lines of progress where there is no terminal."""

UNITS = ("KiB", "MiB", "GiB", "TiB")
KIB = 1024

LEAST_CELLS = 12
"""Cells that a column keeps when it is cut to the terminal's width."""


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


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        title: Its heading.
        is_number: Whether its cells end at the same place, so that their sizes can be compared.
        is_cut: Whether its cells are cut where the terminal is too narrow for the whole line.
        is_spare: Whether it is left out there, before anything is cut.
    """

    title: str
    is_number: bool = False
    is_cut: bool = False
    is_spare: bool = False

    def cell(self, text: str, width: int) -> str:
        if cell_len(text) > width:
            text = f"{set_cell_size(text, width - 1).rstrip()}\N{HORIZONTAL ELLIPSIS}"
        space = " " * (width - cell_len(text))
        return f"{space}{text}" if self.is_number else f"{text}{space}"


def text(title: str, *, is_spare: bool = False) -> Column:
    return Column(title, is_spare=is_spare)


def number(title: str) -> Column:
    return Column(title, is_number=True)


def name(title: str, *, is_spare: bool = False) -> Column:
    """Return a column of names of any length, most of which jobs chose."""
    return Column(title, is_cut=True, is_spare=is_spare)


def terminal_width() -> int | None:
    """Return the width of the terminal that shows standard output; None for a pipe or a file."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def fitted(columns: Sequence[Column], widths: Sequence[int], room: int) -> list[int]:
    """Return the columns' widths on a terminal: spare columns are left out first, then the widest names are cut.

    Args:
        columns: The columns.
        widths: The width of each one's longest cell; 0 for a column that is left out.
        room: The terminal's width.

    Returns:
        The width of each column; 0 for one that is left out.
    """
    shown = list(widths)
    least = [min(width, LEAST_CELLS) if it.is_cut else width for it, width in zip(columns, widths, strict=True)]
    for place, column in enumerate(columns):
        if column.is_spare and line_width(least) > room:
            shown[place] = least[place] = 0
    while line_width(shown) > room:
        cuttable = [it for it, column in enumerate(columns) if column.is_cut and shown[it] > least[it]]
        if not cuttable:
            break
        shown[max(cuttable, key=lambda it: shown[it])] -= 1
    return shown


def line_width(widths: Sequence[int]) -> int:
    columns = [width for width in widths if width]
    return sum(columns) + 2 * (len(columns) - 1)


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
        if self.as_json:
            return
        lines = [tuple(column.title for column in columns), *(tuple(map(printable, row)) for row in rows)]
        if len(lines) == 1:
            return
        widths = [max(map(cell_len, cells)) for cells in zip(*lines, strict=True)]
        if self.width is not None:
            # A column without content is left out there.
            filled = [any(cells[1:]) for cells in zip(*lines, strict=True)]
            widths = fitted(columns, [it * is_filled for it, is_filled in zip(widths, filled, strict=True)], self.width)
        for line in lines:
            cells = [it.cell(cell, width) for it, cell, width in zip(columns, line, widths, strict=True) if width]
            self.say("  ".join(cells).rstrip())

    def ref(self, ref: str) -> str:
        """Return a ref as people write it on a terminal, and in full where a program may read it."""
        return ref if self.width is None else short_ref(ref)

    def brief(self, chosen: str) -> str:
        """Return a name that a job chose, cut on a terminal so that the sentence around it has room."""
        text = printable(chosen)
        most = max(LEAST_CELLS, self.width // 2) if self.width is not None else cell_len(text)
        return Column("").cell(text, min(most, cell_len(text)))

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
