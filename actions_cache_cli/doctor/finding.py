"""What the doctor says: one line for each thing that must be so."""

from __future__ import annotations

from dataclasses import dataclass

from actions_cache_cli.doctor.printable import printable

OK = "ok"
TROUBLE = "trouble"
WARNING = "warning"
UNKNOWN = "can't tell"


@dataclass(frozen=True)
class Finding:
    title: str
    state: str
    """OK, TROUBLE, WARNING or UNKNOWN. A warning: the cache works, something beside it doesn't."""
    detail: str
    """What was seen; of trouble and warnings also what it means and what to do, of UNKNOWN how it could be told."""


def ok(title: str, detail: str) -> Finding:
    return Finding(title, OK, one_line(detail))


def trouble(title: str, detail: str) -> Finding:
    return Finding(title, TROUBLE, one_line(detail))


def warning(title: str, detail: str) -> Finding:
    return Finding(title, WARNING, one_line(detail))


def unknown(title: str, detail: str) -> Finding:
    return Finding(title, UNKNOWN, one_line(detail))


def one_line(text: str) -> str:
    """Printable: servers' answers are quoted in it, and a job's log obeys lines that begin with `::`."""
    return printable(" ".join(text.split()))


def quoted(text: str, most: int = 160) -> str:
    """At most `most` characters of it."""
    line = one_line(text)
    return f'"{line if len(line) <= most else line[:most] + "…"}"'
