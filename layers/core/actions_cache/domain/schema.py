"""The tables' schema version, and the migrations that lead to it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from actions_cache.domain.timing import Millis

Document = Mapping[str, Any]
"""An archive as the table has it, in JSON's types."""


@dataclass(frozen=True, slots=True)
class Migration:
    version: int
    rewrite: Callable[[Document], Document]
    """Pure; gives a document that has the version's shape already back as it is."""


def unchanged(document: Document) -> Document:
    return document


MIGRATION = Migration(1, unchanged)


MIGRATIONS: tuple[Migration, ...] = (MIGRATION,)

KNOWN = MIGRATIONS[-1].version
"""The newest shape that this release writes and reads."""


def upgraded(document: Document, migrations: Sequence[Migration] = MIGRATIONS) -> Document:
    for migration in migrations:
        document = migration.rewrite(document)
    return document


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
