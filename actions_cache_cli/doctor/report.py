"""The doctor's findings, and the functions that make others' text safe to print.

Every command of this repository prints through `printable`: keys, refs, names and servers' answers may hold escape
sequences that move a cursor, set a title or answer for the user, characters that reverse a line, and unpaired
surrogates. It is in this package because the doctor runs on its own.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

OK = "ok"
TROUBLE = "trouble"
WARNING = "warning"
UNKNOWN = "can't tell"

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's: something that must be so, and whether it is."""

    title: str
    state: str
    """OK, TROUBLE, WARNING or UNKNOWN. A warning means that the cache works and something beside it doesn't."""
    detail: str
    """One observation in words, and what it means. UNKNOWN says how to find out."""
    to_do: str = ""
    """Advice on what to do; empty unless the state is TROUBLE or WARNING."""

    @property
    def text(self) -> str:
        """Return the detail and what to do, on one line."""
        return f"{self.detail}; to do: {self.to_do}" if self.to_do else self.detail


def ok(title: str, detail: str) -> Finding:
    return Finding(title, OK, one_line(detail))


def trouble(title: str, detail: str, to_do: str) -> Finding:
    return Finding(title, TROUBLE, one_line(detail), one_line(to_do))


def warning(title: str, detail: str, to_do: str) -> Finding:
    return Finding(title, WARNING, one_line(detail), one_line(to_do))


def unknown(title: str, detail: str) -> Finding:
    return Finding(title, UNKNOWN, one_line(detail))


def printable(text: object, *, keeps_lines: bool = False) -> str:
    """Return the text with each control, direction mark and unpaired surrogate replaced.

    Args:
        text: Anything that others had a say in.
        keeps_lines: Whether newlines stay. Otherwise they are replaced too, so that nobody can add lines.
    """
    kept = "\n" if keeps_lines else ""
    return "".join(char if char.isprintable() or (char and char in kept) else REPLACEMENT for char in str(text))


_LOOKED_AT = re.compile(r"[^\x20-\x7e\n]")


def as_json(document: Any, *, indent: int | None = 1) -> str:
    """Return equivalent JSON in which unprintable characters are escaped."""
    written = json.dumps(document, indent=indent, ensure_ascii=False)
    # Outside of strings, JSON is printable ASCII.
    return _LOOKED_AT.sub(lambda found: found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1], written)


def one_line(text: str) -> str:
    """Return the text as one printable line; a job's log obeys lines that begin with `::`."""
    return printable(" ".join(text.split()))


def quoted(text: str, most: int = 160) -> str:
    """Return the text as one line in quotation marks, cut after `most` characters."""
    line = one_line(text)
    return f'"{line if len(line) <= most else line[:most] + "…"}"'
