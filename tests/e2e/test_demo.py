"""The demo's own promise: it fails when anything isn't as it was saved."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from dev.demo import __main__ as demo
from dev.demo.tree import differences, fingerprint


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").write_bytes(b"data")
    (tmp_path / "folder/file").chmod(0o644)
    (tmp_path / "link").symlink_to("folder/file")
    return tmp_path


def link_elsewhere(tree: Path) -> None:
    (tree / "link").unlink()
    (tree / "link").symlink_to("folder")


CHANGES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "nothing": (lambda tree: tree, []),
    "a byte": (lambda tree: (tree / "folder/file").write_bytes(b"dat4"), ["folder/file has other bytes"]),
    "an end": (lambda tree: (tree / "folder/file").write_bytes(b"dat"), ["folder/file has other bytes"]),
    "a mode": (lambda tree: (tree / "folder/file").chmod(0o600), ["folder/file has mode 600 instead of 644"]),
    "a missing file": (lambda tree: (tree / "folder/file").unlink(), ["folder/file is missing"]),
    "a new file": (lambda tree: (tree / "new").touch(), ["new was never saved"]),
    "a link": (link_elsewhere, ["link has other bytes"]),
}


@pytest.mark.parametrize(("change", "told"), CHANGES.values(), ids=CHANGES)
def test_demo_detects_every_difference(tree: Path, change: Callable[[Path], object], told: list[str]):
    before = fingerprint(tree)

    change(tree)

    assert differences(before, fingerprint(tree)) == told


def test_demo_prints_next_steps(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(demo, "run", lambda *_: None)

    assert demo.main() == 0

    title, *steps = capsys.readouterr().out.splitlines()
    assert title == "What to do next:"
    named = [re.match(r"  make ([a-z]+) +\S", step) for step in steps]
    assert [it and it[1] for it in named] == ["run", "token", "deploy"]
    assert max(map(len, steps)) <= 100


def test_demo_exits_with_1_on_difference(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def differ(*_: object) -> None:
        raise demo.Failed("1 of 3 files differ", ["folder/file has other bytes"])

    monkeypatch.setattr(demo, "run", differ)

    assert demo.main() == 1
    assert "folder/file has other bytes" in capsys.readouterr().out
