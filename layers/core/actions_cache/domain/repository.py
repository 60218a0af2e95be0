"""The repositories that save here: their ids, as in tokens (domain/access.py), and the names that people know."""

import re
from dataclasses import dataclass

from actions_cache.domain.timing import Millis

MAX_ID_BYTES = 2048

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}")


@dataclass(frozen=True, slots=True)
class Repository:
    """One that a token has named.

    Args:
        id: of one issuer and of no other.
        name: `owner/repository` as its last token said; None where no token says it.
        noted_at: when the name was noted.
    """

    id: str
    name: str | None
    noted_at: Millis


def is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def may_be_id(text: str) -> bool:
    """Return whether a table has room for it: a partition key has 2,048 bytes, and one at least."""
    return 0 < len(text.encode(errors="replace")) <= MAX_ID_BYTES


def same_name(one: str | None, other: str) -> bool:
    """GitHub takes names in any case."""
    return one is not None and one.lower() == other.lower()
