"""A directory like a job's dependencies and build results, and the comparison of two such directories."""

import hashlib
import random
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

KIB, MIB = 1024, 1024 * 1024
SEED = 20260901
WORDS = ("import", "return", "const", "async", "cache", "archive", "manifest", "=>", "{", "}", "(item)", "null,", "\n")

KINDS = (
    ("node_modules/package-{group:02d}/lib/module-{index:04d}.js", 1500, 0, 16 * KIB, True, 0o644),
    ("node_modules/.bin/tool-{index:02d}", 40, 200, 2 * KIB, True, 0o755),
    ("target/release/deps/lib{index:03d}.rlib", 300, 32 * KIB, 400 * KIB, False, 0o644),
    ("target/release/build-{index:02d}", 12, 4 * MIB, 14 * MIB, False, 0o755),
    ("logs/build-{index}.log", 3, 6 * MIB, 9 * MIB, True, 0o600),
)
"""Kinds of files: path, number, least and largest size, whether they are text (which compresses), and mode."""


class FileState(NamedTuple):
    """The properties of a file that a restore must bring back."""

    sha256: str
    mode: int
    size: int


def grow(root: Path) -> None:
    """Make some 1,850 files and 210 MB, the same ones each time. Most of it doesn't compress, as in real caches."""
    source = random.Random(SEED)  # noqa: S311 - it is to be the same each time
    text = 12 * " ".join(source.choices(WORDS, k=MIB // 6)).encode()
    for pattern, number, least, largest, is_text, mode in KINDS:
        for index in range(number):
            path = root / pattern.format(index=index, group=index % 50)
            path.parent.mkdir(parents=True, exist_ok=True)
            size = source.randint(least, largest)
            start = source.randrange(len(text) - size) if is_text else 0
            path.write_bytes(text[start : start + size] if is_text else source.randbytes(size))
            path.chmod(mode)
    (root / "node_modules/.bin/latest").symlink_to("tool-00")


def fingerprint(root: Path) -> dict[str, FileState]:
    """Return the state of every file by its path below the root; a link's bytes are the path that it points to."""
    files = (path for path in sorted(root.rglob("*")) if path.is_symlink() or path.is_file())
    return {path.relative_to(root).as_posix(): _state(path) for path in files}


def _state(path: Path) -> FileState:
    content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
    return FileState(hashlib.sha256(content).hexdigest(), stat.S_IMODE(path.lstat().st_mode), len(content))


def differences(expected: Mapping[str, FileState], found: Mapping[str, FileState]) -> list[str]:
    """Return a sentence for each file that differs."""
    return [
        f"{path} {_difference(expected.get(path), found.get(path))}"
        for path in sorted(expected.keys() | found.keys())
        if expected.get(path) != found.get(path)
    ]


def _difference(expected: FileState | None, found: FileState | None) -> str:
    if found is None:
        return "is missing"
    if expected is None:
        return "was never saved"
    if expected.sha256 != found.sha256:
        return "has other bytes"
    return f"has mode {found.mode:o} instead of {expected.mode:o}"
