"""Lays tables out: columns as wide as their longest cell, or cut to a terminal's width."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from rich.cells import cell_len, set_cell_size

LEAST_CELLS = 12
"""Cells that a column keeps when it is cut to the terminal's width."""

READABLE_CELLS = 24
"""Cells that a name is given before a spare column is shown beside it."""


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

    def cell(self, content: str, width: int) -> str:
        """Return the content, cut or filled up with spaces to the width."""
        shown = cut(content, width)
        space = " " * (width - cell_len(shown))
        return f"{space}{shown}" if self.is_number else f"{shown}{space}"

    @classmethod
    def text(cls, title: str, *, is_spare: bool = False) -> Self:
        """Return a column of times and of the project's own words."""
        return cls(title, is_spare=is_spare)

    @classmethod
    def number(cls, title: str) -> Self:
        return cls(title, is_number=True)

    @classmethod
    def name(cls, title: str, *, is_spare: bool = False) -> Self:
        """Return a column of names of any length, most of which jobs chose."""
        return cls(title, is_cut=True, is_spare=is_spare)


def cut(text: str, width: int) -> str:
    """Return the text, cut to so many cells of a terminal; a character may have two, or none."""
    if cell_len(text) <= width:
        return text
    return f"{set_cell_size(text, width - 1).rstrip()}\N{HORIZONTAL ELLIPSIS}"


def lay_out(columns: Sequence[Column], rows: Sequence[Sequence[str]], room: int | None) -> list[str]:
    """Return the lines of a table, its titles first.

    Args:
        columns: The columns.
        rows: Rows of printable cells.
        room: The terminal's width; None if nothing is cut or left out.
    """
    lines = [tuple(column.title for column in columns), *rows]
    widths = [max(map(cell_len, cells)) for cells in zip(*lines, strict=True)]
    if room is not None:
        # A column without content is left out on a terminal.
        filled = [any(cells[1:]) for cells in zip(*lines, strict=True)]
        widths = fitted(columns, [width * is_filled for width, is_filled in zip(widths, filled, strict=True)], room)
    shown = [[it for it in zip(columns, line, widths, strict=True) if it[2]] for line in lines]
    return ["  ".join(column.cell(cell, width) for column, cell, width in line).rstrip() for line in shown]


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
    readable, least = (
        [min(width, most) if it.is_cut else width for it, width in zip(columns, widths, strict=True)]
        for most in (READABLE_CELLS, LEAST_CELLS)
    )
    for place, column in enumerate(columns):
        if column.is_spare and line_width(readable) > room:
            shown[place] = readable[place] = least[place] = 0
    while line_width(shown) > room:
        cuttable = [it for it, column in enumerate(columns) if column.is_cut and shown[it] > least[it]]
        if not cuttable:
            break
        shown[max(cuttable, key=lambda it: shown[it])] -= 1
    return shown


def line_width(widths: Sequence[int]) -> int:
    columns = [width for width in widths if width]
    return sum(columns) + 2 * (len(columns) - 1)
