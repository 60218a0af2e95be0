"""Makes text that others chose safe for a terminal; every command of this repository prints through it.

Keys, refs, names and servers' answers may hold escape sequences that move a cursor, set a title or answer for the user,
characters that reverse a line, and halves of characters. It is in this package because the doctor runs on its own.
"""

from __future__ import annotations

import json
import re
from typing import Any

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def printable(text: object, *, keeps_lines: bool = False) -> str:
    """Return the text with unprintable characters escaped: controls, direction marks, halves of characters.

    Args:
        text: anything that others had a say in.
        keeps_lines: whether newlines stay; otherwise they are escaped too, so that nobody can add lines.
    """
    kept = "\n" if keeps_lines else ""
    return "".join(it if it.isprintable() or (it and it in kept) else REPLACEMENT for it in str(text))


_LOOKED_AT = re.compile(r"[^\x20-\x7e\n]")


def as_json(document: Any, *, indent: int | None = 1) -> str:
    """Return equivalent JSON in which unprintable characters are escaped."""
    written = json.dumps(document, indent=indent, ensure_ascii=False)
    # Outside of strings, JSON is printable ASCII.
    return _LOOKED_AT.sub(lambda found: found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1], written)
