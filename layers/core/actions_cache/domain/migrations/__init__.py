"""How archives that an older release wrote become what this one reads: one small module a version.

Each rewrites the archive's document (a map, as `adapters/dynamodb_items.py` writes it) from the shape of the version
before to its own, and leaves one that has its shape already as it is: old and new stand side by side while the tables
are migrated. Every read goes through all of them, so nothing has to be migrated before it can be read.

A new version: a module here, its migration at the end of MIGRATIONS, and a test in tests/unit/domain/test_migrations.py
with an item as the release before wrote it. A field with a default needs none.
"""

from collections.abc import Sequence

from actions_cache.domain.migrations import m0001_indexes
from actions_cache.domain.migrations.migration import Document, Migration

MIGRATIONS: tuple[Migration, ...] = (m0001_indexes.MIGRATION,)

KNOWN = MIGRATIONS[-1].version
"""The newest shape that this release writes and reads."""


def upgraded(document: Document, migrations: Sequence[Migration] = MIGRATIONS) -> Document:
    for migration in migrations:
        document = migration.rewrite(document)
    return document
