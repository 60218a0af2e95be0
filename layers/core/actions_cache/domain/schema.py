"""Which shapes of archives stand in the tables, and whether this release may work on them.

A release that knows a newer shape writes it beside the older ones, so it first says so in the tables; from then on an
older release refuses to start, which would read half of what it finds and write that back. The migration then brings
what is older to today's shape, and says so too.
"""

from dataclasses import dataclass, replace

from actions_cache.domain.migrations import KNOWN
from actions_cache.domain.timing import Millis


@dataclass(frozen=True, slots=True)
class Schema:
    """What stands in the tables."""

    newest: int
    """Some archive may have this shape; none has a newer one."""
    oldest: int = 0
    """Every archive has at least this shape. 0: that of releases which wrote no version."""
    migrated_up_to: str = ""
    """Where the running migration goes on, as an archive's id; empty: at the beginning."""
    again_at: Millis = 0
    """When archives that couldn't be migrated are tried again."""


def admitted(found: Schema | None, known: int = KNOWN) -> Schema:
    """What is to stand in the tables while a release works on them that knows this shape.

    Args: found: None in tables that no release with a version has seen: they are new, or older than all of these.
    """
    if found is None:
        return Schema(newest=known)
    return found if found.newest >= known else replace(found, newest=known, migrated_up_to="")


def refusal(found: Schema | None, known: int = KNOWN) -> str | None:
    """Why a release that knows this shape mustn't work on the tables; None: it may."""
    if found is None or found.newest <= known:
        return None
    return (
        f"the tables have archives of schema version {found.newest}, and this release knows up to {known}: deploy "
        "the newer release again, or restore the tables from before it (docs/operations.md)"
    )


def is_whole(schema: Schema, known: int = KNOWN) -> bool:
    """Return whether nothing is left to migrate."""
    return schema.oldest >= known


def begun_anew(schema: Schema, at: Millis) -> Schema:
    return replace(schema, migrated_up_to="", again_at=at)


def migrated(schema: Schema, known: int = KNOWN) -> Schema:
    return replace(schema, oldest=max(schema.oldest, known), migrated_up_to="")
