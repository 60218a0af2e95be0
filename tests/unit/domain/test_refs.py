"""Refs are read as people write them. The page's short forms are held against the same table (format.test.mjs)."""

import json
from pathlib import Path

import pytest

from actions_cache.domain.refs import full_ref

REFS = json.loads(Path(__file__).with_name("refs.json").read_text())
"""Refs as people write them, each with the full ref that it means."""


@pytest.mark.parametrize("text", REFS)
def test_ref_is_read_as_written(text: str) -> None:
    assert full_ref(text) == full_ref(f" {text}\n") == REFS[text]


@pytest.mark.parametrize("ref", sorted(set(REFS.values())))
def test_full_ref_stays_as_it_is(ref: str) -> None:
    assert full_ref(ref) == ref
