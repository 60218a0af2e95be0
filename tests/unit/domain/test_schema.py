"""Which release may work on which tables, and what it says there."""

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


@pytest.mark.parametrize(
    ("found", "is_refused"),
    [(None, False), (Schema(1, 0), False), (Schema(2, 1), False), (Schema(2, 2), False), (Schema(3, 1), True)],
    ids=str,
)
def test_a_release_refuses_tables_with_newer_archives_than_it_knows_alone(found: Schema | None, is_refused: bool):
    assert (refusal(found, known=2) is not None) is is_refused


def test_a_refusal_says_what_was_found_and_what_to_do():
    said = str(refusal(Schema(7), known=2))
    assert "version 7" in said
    assert "knows up to 2" in said
    assert "deploy the newer release" in said


@pytest.mark.parametrize(
    ("found", "by"),
    [
        (None, Schema(2, 0)),
        (Schema(1, 1), Schema(2, 1)),
        (Schema(1, 0, "abc"), Schema(2, 0)),
        (Schema(2, 1, "abc"), Schema(2, 1, "abc")),
    ],
    ids=str,
)
def test_a_release_says_what_it_writes_before_it_writes_and_a_migration_begins_anew(found: Schema | None, by: Schema):
    assert admitted(found, known=2) == by


def test_tables_are_whole_once_a_migration_to_the_known_version_has_ended():
    assert not is_whole(Schema(2, 1), known=2)
    assert migrated(Schema(2, 1, "abc"), known=2) == Schema(2, 2)
    assert is_whole(migrated(Schema(2, 1), known=2), known=2)


def test_versions_are_counted_from_one_without_a_gap():
    assert [it.version for it in MIGRATIONS] == list(range(1, KNOWN + 1))


def renamed(document: Document) -> Document:
    """As a migration would be."""
    return {("bytes" if key == "size" else key): value for key, value in document.items()}


def with_unit(document: Document) -> Document:
    return document if "unit" in document else {**document, "unit": f"{document['bytes']} B"}


@pytest.mark.parametrize("document", [{"size": 3}, {"bytes": 3}, {"bytes": 3, "unit": "3 B"}], ids=str)
def test_a_document_of_any_version_becomes_todays_and_todays_stays(document: dict[str, Any]):
    migrations = (Migration(1, unchanged), Migration(2, renamed), Migration(3, with_unit))
    assert upgraded(document, migrations) == {"bytes": 3, "unit": "3 B"}
