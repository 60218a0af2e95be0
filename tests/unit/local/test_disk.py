"""The store's need for disk is checked at each boundary, and a full one is reported."""

import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from dev.local.disk import KEPT_STORE_BYTES, MIB, NEW_STORE_BYTES, shortage
from dev.local.store import PROBE, WritableStore

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
def test_disk_is_short_below_what_the_store_needs_to_write(
    disk: Callable[[int, int], None], total: int, free: int, *, is_new: bool, is_short: bool
):
    disk(total, free)
    said = shortage(Path("/data"), is_new=is_new)
    assert (said is not None) is is_short
    if said is not None:
        assert f"{free // MIB} MiB left" in said
        assert "LOCAL_DATA_DIR" in said


class Bucket:
    def __init__(self) -> None:
        self.did: list[tuple[str, str]] = []
        self.error: Exception | None = None

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> None:  # noqa: N803 - boto3's
        self.did.append(("put", Key))
        assert (Bucket, Body) == ("bucket", b"probe")
        if self.error is not None:
            raise self.error

    def delete_object(self, *, Bucket: str, Key: str) -> None:  # noqa: N803 - boto3's
        assert Bucket == "bucket"
        self.did.append(("delete", Key))


def store_of(bucket: Bucket, directory: Path | None) -> WritableStore:
    return WritableStore(
        cast("Any", SimpleNamespace(put_object=bucket.put_object, delete_object=bucket.delete_object)),
        "bucket",
        directory,
    )


def test_store_that_writes_leaves_nothing_behind(disk: Callable[[int, int], None], tmp_path: Path):
    disk(TB, TB)
    bucket = Bucket()
    assert store_of(bucket, tmp_path).fault() is None
    assert bucket.did == [("put", PROBE), ("delete", PROBE)]
    assert not PROBE.startswith("archives/")


def test_store_that_refuses_says_why_and_where_more_is_written(disk: Callable[[int, int], None], tmp_path: Path):
    disk(TB, TB)
    bucket = Bucket()
    bucket.error = ClientError({"Error": {"Code": "InternalError", "Message": "no room"}}, "PutObject")
    said = store_of(bucket, tmp_path / "seaweedfs").fault() or ""
    assert "no room" in said
    assert str(tmp_path / "logs" / "seaweedfs.log") in said
    assert "seaweedfs.log" not in (store_of(bucket, None).fault() or "")


def test_full_disk_is_seen_before_anything_is_tried(disk: Callable[[int, int], None], tmp_path: Path):
    disk(TB, 0)
    bucket = Bucket()
    assert "0 MiB left" in (store_of(bucket, tmp_path).fault() or "")
    assert bucket.did == []
