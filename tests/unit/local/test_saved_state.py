"""What MiniStack can't read is dropped before it starts, and objects without tables with it."""

from pathlib import Path

import pytest

from dev.local import ministack

WHOLE = '{"__ministack_format__": 2, "payload": {}}'


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    for service in ("dynamodb", "sqs"):
        (tmp_path / "state" / f"{service}.json").write_text(WHOLE)
    return tmp_path


def test_whole_state_stays(directory: Path):
    assert ministack.drop_unreadable_state(directory) == []
    assert ministack.has_saved_tables(directory)


@pytest.mark.parametrize("damaged", [b"", WHOLE[:20].encode(), b"\xff\xfe\x00"], ids=["empty", "cut off", "garbage"])
def test_damaged_state_is_dropped(directory: Path, damaged: bytes):
    (directory / "state" / "dynamodb.json").write_bytes(damaged)
    assert ministack.drop_unreadable_state(directory) == ["dynamodb"]
    assert not ministack.has_saved_tables(directory)
    assert (directory / "state" / "sqs.json").exists()


def test_state_that_was_loaded_is_not_loaded_twice(directory: Path):
    ministack.forget_saved_state(directory)
    assert not ministack.has_saved_tables(directory)


def test_a_first_start_has_no_state(tmp_path: Path):
    assert ministack.drop_unreadable_state(tmp_path) == []
    assert not ministack.has_saved_tables(tmp_path)
