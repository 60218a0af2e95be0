"""Tests the release: from pyproject.toml and git into the built package, and from there into GET /health."""

import subprocess
import sys
from importlib.util import cache_from_source
from pathlib import Path
from typing import NoReturn

import pytest

from actions_cache.release import Release, stamped
from dev.build import package
from dev.build.release import release_of
from dev.local.template import ROOT

PROJECT = '[project]\nversion = "1.2.3"\n'
GIT = ("git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "all"]):
        subprocess.run([*GIT, "-C", str(tmp_path), *command], check=True)
    return tmp_path


def test_checkout_has_version_and_commit(checkout: Path):
    head = subprocess.check_output([*GIT, "-C", str(checkout), "rev-parse", "HEAD"], text=True)
    release = release_of(checkout)
    assert release.version == "1.2.3"
    assert head.startswith(release.commit)
    assert len(release.commit) >= 12
    (checkout / "new").touch()
    assert release_of(checkout).commit == f"{release.commit}.changed"


def test_source_archive_has_no_commit(checkout: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch):
    """It has not even the commit of a repository around it; nor is one known if git hangs."""
    (alone := tmp_path_factory.mktemp("alone") / "pyproject.toml").write_text(PROJECT)
    assert release_of(alone.parent) == Release("1.2.3", "unknown")

    def hangs(*_: object, **options: float) -> NoReturn:
        raise subprocess.TimeoutExpired("git", options["timeout"])

    monkeypatch.setattr(subprocess, "run", hangs)
    assert release_of(checkout) == Release("1.2.3", "unknown")


def test_built_package_carries_its_release_and_bytecode(tmp_path: Path):
    (place := tmp_path / package.RELEASE_FILE).parent.mkdir(parents=True)
    assert stamped(place) == Release("unknown", "unknown")
    source = place.with_name("module.py")
    source.write_text("where = (lambda: 0).__code__.co_filename\n")
    package.finish(tmp_path)
    assert stamped(place) == release_of(ROOT)
    [bytecode] = tmp_path.rglob("*.pyc")
    assert bytecode == Path(cache_from_source(str(source)))
    flags = int.from_bytes(bytecode.read_bytes()[4:8], "little")
    assert flags == 0b01, "by hash, unchecked (PEP 552): of no matter when the file was unpacked"
    assert b"/opt/python/actions_cache/module.py" in bytecode.read_bytes()
    assert str(tmp_path).encode() not in bytecode.read_bytes()


def test_release_is_read_as_it_is_written():
    assert Release.parse("1.2.3") == Release("1.2.3", "unknown")
    for text, release in {
        "1.2.3+abc.changed\n": Release("1.2.3", "abc.changed"),
        "+abc": Release("unknown", "abc"),
    }.items():
        assert Release.parse(text) == Release.parse(str(release)) == release


def test_build_script_needs_no_package():
    """The build runs it by the functions' Python, which has none; -S leaves this one's out."""
    program = "import dev.build.package"
    ran = subprocess.run([sys.executable, "-S", "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
