"""Tests what a start makes of the emulators' saved state, and of the disk's free space."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from dev.local import emulators
from dev.local.emulators import KEPT_STORE_BYTES, MIB, NEW_STORE_BYTES, disk_shortage

COMPLETE = '{"__ministack_format__": 2, "payload": {}}'


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    for service in ("dynamodb", "sqs"):
        (tmp_path / "state" / f"{service}.json").write_text(COMPLETE)
    return tmp_path


def test_complete_state_is_loaded_once(directory: Path, tmp_path_factory: pytest.TempPathFactory):
    assert emulators.drop_unreadable_state(directory) == []
    assert emulators.has_saved_tables(directory)
    emulators.forget_saved_state(directory)
    for without in (directory, tmp_path_factory.mktemp("first start")):
        assert emulators.drop_unreadable_state(without) == []
        assert not emulators.has_saved_tables(without)


@pytest.mark.parametrize("damaged", [b"", COMPLETE[:20].encode(), b"\xff\xfe\x00"], ids=["empty", "cut", "garbage"])
def test_damaged_state_is_dropped(directory: Path, damaged: bytes):
    (directory / "state" / "dynamodb.json").write_bytes(damaged)
    assert emulators.drop_unreadable_state(directory) == ["dynamodb"]
    assert not emulators.has_saved_tables(directory)
    assert (directory / "state" / "sqs.json").exists()


Usage = namedtuple("Usage", "total used free")  # noqa: PYI024 - as shutil's
TB = 10**12


@pytest.mark.parametrize(
    ("total", "needed", "is_new"),
    [
        (10**11, NEW_STORE_BYTES, True),
        (10**10, KEPT_STORE_BYTES, False),
        (TB, TB // 100, False),
        (TB, TB // 100, True),
    ],
)
def test_disk_is_short_below_what_the_store_needs(
    monkeypatch: pytest.MonkeyPatch, total: int, needed: int, *, is_new: bool
):
    free = needed
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(total, total - free, free))
    assert disk_shortage(Path("/data"), is_new=is_new) is None
    free = needed - 1
    reason = disk_shortage(Path("/data"), is_new=is_new) or ""
    assert f"{free // MIB} MiB left" in reason
    assert "LOCAL_DATA_DIR" in reason
