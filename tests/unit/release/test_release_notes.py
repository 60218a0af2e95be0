"""The files of a release have their content, and no changed file passes for one. The keys are made for the test."""

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from actions_cache.release import Release
from dev.build import release_notes
from dev.build.package import RELEASE_FILE
from dev.build.release_notes import HOOK, NOTES, SUMS, NotReady, changes, check, check_build, make
from dev.local.template import ROOT
from tests.unit.docs.pages import commands

PAGE = (ROOT / "docs" / "design" / "releasing.md").read_text()
RELEASE = Release("1.2.3", "abcdef")
SIGNER = "release@serverless-actions-cache"

needs_ssh = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen isn't there")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the keys `good` and `other`, and a user's docs/release-signers with the public key of the good one."""
    directory = tmp_path_factory.mktemp("keys")
    for name in ("good", "other"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(directory / name)]
        subprocess.run(command, check=True)
    (directory / "release-signers").write_text(f"{SIGNER} {(directory / 'good.pub').read_text()}")
    return directory


@pytest.fixture
def build(tmp_path: Path) -> Path:
    place = tmp_path / "build"
    (place / "DownloadFunction").mkdir(parents=True)
    (place / "template.yaml").write_text("Resources: {}\n")
    (place / RELEASE_FILE).parent.mkdir(parents=True)
    (place / RELEASE_FILE).write_text(f"{RELEASE}\n")
    script = place / "DownloadFunction" / "run.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    return place


@pytest.fixture
def released(build: Path, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a release in a user's directory, with the signers' file where the documented command expects it."""
    changelog = tmp_path / "root"
    changelog.mkdir()
    (changelog / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n## 1.2.3 (2026-11-27)\n\n- New.\n")
    monkeypatch.setattr(release_notes, "ROOT", changelog)
    out = tmp_path / "out"
    make(RELEASE, {"arm64": build}, out, keys / "good")
    shutil.copy(keys / "release-signers", out)
    return out


def verified(directory: Path) -> bool:
    """Run the commands of docs/design/releasing.md, and return whether they succeed."""
    section = PAGE.partition("## Verify a release")[2].partition("\n## ")[0]
    typed = [command.text for command in commands("docs/design/releasing.md", section) if not command.needs]
    assert any("ssh-keygen -Y verify" in command for command in typed)
    assert any("sha256sum --check" in command for command in typed)
    script = "\n".join(["set -e", *typed])
    return subprocess.run(["bash", "-c", script], cwd=directory, capture_output=True, check=False).returncode == 0


@needs_ssh
@pytest.mark.parametrize("file", [SUMS, NOTES, "serverless-actions-cache-1.2.3-arm64.zip"])
def test_release_is_verified_by_the_documented_commands(released: Path, file: str) -> None:
    assert verified(released)
    (released / file).write_bytes((released / file).read_bytes() + b"\n")
    assert not verified(released)


@needs_ssh
def test_another_key_or_purpose_is_not_verified(released: Path, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release_notes.sign(released / SUMS, keys / "other")
    assert not verified(released)
    release_notes.sign(released / SUMS, keys / "good")
    assert verified(released)
    monkeypatch.setattr(release_notes, "NAMESPACE", "file")
    release_notes.sign(released / SUMS, keys / "good")
    assert not verified(released)


def test_release_without_key_is_unsigned(build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "CHANGELOG.md").write_text("## 1.2.3\n\n- New.\n")
    monkeypatch.setattr(release_notes, "ROOT", tmp_path)
    files = make(RELEASE, {"arm64": build}, tmp_path / "out", None)
    hook = [file.name for file in HOOK]
    assert [file.name for file in files] == ["serverless-actions-cache-1.2.3-arm64.zip", *hook, SUMS, NOTES]
    assert all(f"  {name}\n" in (tmp_path / "out" / SUMS).read_text() for name in hook)
    assert set((tmp_path / "out").iterdir()) == set(files)


@needs_ssh
def test_release_has_notes_and_reproducible_packages(released: Path, build: Path, tmp_path: Path) -> None:
    notes = (released / NOTES).read_text()
    for said in ("- New.", "commit abcdef", (released / SUMS).read_text()):
        assert said in notes
    again = tmp_path / "again.zip"
    (build / "template.yaml").touch()
    release_notes.pack(build, again)
    first = released / "serverless-actions-cache-1.2.3-arm64.zip"
    assert again.read_bytes() == first.read_bytes()
    modes = {file.filename: file.external_attr >> 16 for file in zipfile.ZipFile(first).infolist()}
    assert modes == {str(RELEASE_FILE): 0o644, "template.yaml": 0o644, "DownloadFunction/run.sh": 0o755}


@pytest.mark.parametrize("stamp", ["1.2.3+other", "1.2.2+abcdef", None])
def test_build_of_another_commit_is_refused(build: Path, stamp: str | None) -> None:
    check_build(build, RELEASE)
    place = build / RELEASE_FILE
    place.write_text(stamp) if stamp else place.unlink()
    with pytest.raises(NotReady, match=r"and this is 1\.2\.3\+abcdef"):
        check_build(build, RELEASE)


def test_version_without_changes_is_refused() -> None:
    for changelog in ("## Unreleased\n\n- New.\n", "## 1.2.3\n\n## 1.2.2\n\n- Old.\n", "## 1.2.30\n\n- Other.\n"):
        with pytest.raises(NotReady, match="Unreleased"):
            changes(changelog, "1.2.3")
    assert changes("## 1.2.3\n\n- New.\n\n## 1.2.2\n\n- Old.\n", "1.2.3") == "- New."


@pytest.mark.parametrize(("version", "commit"), [("1.2.4", "abc"), ("1.2.3", "abc.changed"), ("1.2.3", "unknown")])
def test_checkout_that_is_not_the_release_is_refused(version: str, commit: str) -> None:
    with pytest.raises(NotReady):
        check(Release(version, commit), "1.2.3")
    check(Release("1.2.3", "abc"), "1.2.3")
