"""How a check says that something isn't so, or couldn't be looked at."""

from typing import TypeVar

T = TypeVar("T")


class Failed(Exception):
    """What was seen, what it means, what to do."""


class Skipped(Exception):
    """Why it wasn't looked at, and how it could be."""


def needed(thing: T | None, what: str) -> T:
    """What an earlier check should have made. Raises Skipped."""
    if thing is None:
        raise Skipped(f"needs {what}, which an earlier check didn't get")
    return thing
