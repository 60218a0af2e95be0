"""Define the schema versions of the tables' archives, and the migrations between them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from actions_cache.domain.timing import Millis

Document = Mapping[str, Any]
"""An archive as it is stored, in JSON's types."""


@dataclass(frozen=True, slots=True)
class Migration:
    """Leads documents of the version before to this one.

    Args:
        rewrite: a pure function, which returns documents of this version unchanged.
    """

    version: int
    rewrite: Callable[[Document], Document]


def unchanged(document: Document) -> Document:
    return document


MIGRATIONS: tuple[Migration, ...] = (Migration(1, unchanged),)

KNOWN = MIGRATIONS[-1].version
"""The newest version that this release reads, and the one it writes."""


def upgraded(document: Document, migrations: Sequence[Migration] = MIGRATIONS) -> Document:
    """Return a document of any version in the newest one."""
    for migration in migrations:
        document = migration.rewrite(document)
    return document


@dataclass(frozen=True, slots=True)
class Schema:
    """Records the versions of the tables' archives.

    Args:
        newest: no archive has a newer version than this.
        oldest: no archive has an older version than this; 0 for releases that wrote no version.
        migrated_up_to: id of the archive after which the running migration continues; empty for the beginning.
        again_at: time at which archives that couldn't be migrated are tried again.
    """

    newest: int
    oldest: int = 0
    migrated_up_to: str = ""
    again_at: Millis = 0


def admitted(found: Schema | None, known: int = KNOWN) -> Schema:
    """Return the record for tables on which a release works that knows this version.

    Args:
        found: None in tables without a record: they are new, or older than all releases that write one.
        known: the newest version that the release knows.
    """
    if found is None:
        return Schema(newest=known)
    return found if found.newest >= known else replace(found, newest=known, migrated_up_to="")


def refusal(found: Schema | None, known: int = KNOWN) -> str | None:
    """Return why a release that knows this version mustn't work on the tables; None if it may."""
    if found is None or found.newest <= known:
        return None
    return (
        f"the tables have archives of schema version {found.newest}, and this release knows up to {known}: deploy "
        "the newer release again, or restore the tables from before it (docs/operate/operations.md)"
    )


def is_whole(schema: Schema, known: int = KNOWN) -> bool:
    """Return whether all archives are migrated."""
    return schema.oldest >= known


def begun_anew(schema: Schema, at: Millis) -> Schema:
    """Return the record for a migration that starts again at this time, since some archives couldn't be migrated."""
    return replace(schema, migrated_up_to="", again_at=at)


def migrated(schema: Schema, known: int = KNOWN) -> Schema:
    """Return the record for tables whose archives are all migrated."""
    return replace(schema, oldest=max(schema.oldest, known), migrated_up_to="")
