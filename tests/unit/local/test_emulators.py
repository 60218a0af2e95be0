"""Tests what a start makes of the emulators' saved state, and of the disk's free space."""

import shutil
from collections import namedtuple
from collections.abc import Callable
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


def test_complete_state_is_kept(directory: Path):
    assert emulators.drop_unreadable_state(directory) == []
    assert emulators.has_saved_tables(directory)


@pytest.mark.parametrize("damaged", [b"", COMPLETE[:20].encode(), b"\xff\xfe\x00"], ids=["empty", "cut", "garbage"])
def test_damaged_state_is_dropped(directory: Path, damaged: bytes):
    (directory / "state" / "dynamodb.json").write_bytes(damaged)
    assert emulators.drop_unreadable_state(directory) == ["dynamodb"]
    assert not emulators.has_saved_tables(directory)
    assert (directory / "state" / "sqs.json").exists()


def test_loaded_state_is_not_loaded_again(directory: Path):
    emulators.forget_saved_state(directory)
    assert not emulators.has_saved_tables(directory)


def test_first_start_has_no_state(tmp_path: Path):
    assert emulators.drop_unreadable_state(tmp_path) == []
    assert not emulators.has_saved_tables(tmp_path)


# ------------------------------------------------------------------ disk

Usage = namedtuple("Usage", "total used free")  # noqa: PYI024 - as shutil's
TB = 10**12


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    def has(total: int, free: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(total, total - free, free))

    return has


@pytest.mark.parametrize(
    ("total", "free", "is_new", "is_short"),
    [
        (10**11, NEW_STORE_BYTES, True, False),
        (10**11, NEW_STORE_BYTES - 1, True, True),
        (10**10, KEPT_STORE_BYTES, False, False),
        (10**10, KEPT_STORE_BYTES - 1, False, True),
        (TB, TB // 100, False, False),
        (TB, TB // 100 - 1, False, True),
        (TB, TB // 100 - 1, True, True),
    ],
)
def test_disk_is_short_below_what_the_store_needs(
    disk: Callable[[int, int], None], total: int, free: int, *, is_new: bool, is_short: bool
):
    disk(total, free)
    reason = disk_shortage(Path("/data"), is_new=is_new)
    assert (reason is not None) is is_short
    if reason is not None:
        assert f"{free // MIB} MiB left" in reason
        assert "LOCAL_DATA_DIR" in reason
