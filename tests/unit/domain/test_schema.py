"""A release works only on tables whose schema version it knows, and records the version that it writes."""

from typing import Any

import pytest

from actions_cache.domain.schema import (
    KNOWN,
    MIGRATIONS,
    Document,
    Migration,
    Schema,
    admitted,
    is_whole,
    migrated,
    refusal,
    unchanged,
    upgraded,
)


@pytest.mark.parametrize("found", [None, Schema(1, 0), Schema(2, 1), Schema(2, 2), Schema(3, 1), Schema(7)], ids=str)
def test_newer_tables_are_refused(found: Schema | None):
    refused = refusal(found, known=2)
    assert (refused is not None) is (found in (Schema(3, 1), Schema(7)))
    if refused is not None and found is not None:
        for said in (f"version {found.newest}", "knows up to 2", "deploy the newer release"):
            assert said in str(refused)


@pytest.mark.parametrize(
    ("found", "recorded"),
    [
        (None, Schema(2, 0)),
        (Schema(1, 1), Schema(2, 1)),
        (Schema(1, 0, "abc"), Schema(2, 0)),
        (Schema(2, 1, "abc"), Schema(2, 1, "abc")),
    ],
    ids=str,
)
def test_release_records_version_before_writing(found: Schema | None, recorded: Schema):
    assert admitted(found, known=2) == recorded


def test_migration_completes_tables():
    assert not is_whole(Schema(2, 1), known=2)
    assert migrated(Schema(2, 1, "abc"), known=2) == Schema(2, 2)
    assert is_whole(migrated(Schema(2, 1), known=2), known=2)
    assert [migration.version for migration in MIGRATIONS] == list(range(1, KNOWN + 1))


def renamed(document: Document) -> Document:
    """Rename a field, as a migration might."""
    return {("bytes" if key == "size" else key): value for key, value in document.items()}


def with_unit(document: Document) -> Document:
    return document if "unit" in document else {**document, "unit": f"{document['bytes']} B"}


@pytest.mark.parametrize("document", [{"size": 3}, {"bytes": 3}, {"bytes": 3, "unit": "3 B"}], ids=str)
def test_any_document_is_upgraded_to_current(document: dict[str, Any]):
    migrations = (Migration(1, unchanged), Migration(2, renamed), Migration(3, with_unit))
    assert upgraded(document, migrations) == {"bytes": 3, "unit": "3 B"}
