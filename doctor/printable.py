"""Text that others chose, made safe for a terminal: the one place by which every command of this repository prints.

Keys, refs, names and servers' answers may hold escape sequences that move a cursor, set a title or answer for the user,
characters that reverse a line, and halves of characters. Here since the doctor runs where nothing else of this is.
"""

from __future__ import annotations

import json
import re
from typing import Any

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def printable(text: object, *, keeps_lines: bool = False) -> str:
    """Return the text with a mark for what doesn't print: controls, marks of direction, halves of characters.

    Args:
        text: anything that others had a say in.
        keeps_lines: whether a new line begins one; else it is marked too, so that nobody can add lines of their own.
    """
    kept = "\n" if keeps_lines else ""
    return "".join(it if it.isprintable() or (it and it in kept) else REPLACEMENT for it in str(text))


_LOOKED_AT = re.compile(r"[^\x20-\x7e\n]")


def as_json(document: Any, *, indent: int | None = 1) -> str:
    """Return JSON that holds the same, and in which what doesn't print is escaped as JSON has it."""
    written = json.dumps(document, indent=indent, ensure_ascii=False)
    # Outside of strings JSON is ASCII that prints.
    return _LOOKED_AT.sub(lambda found: found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1], written)
