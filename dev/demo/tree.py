"""A directory like a job's dependencies and build results, and what makes two such directories equal."""

import hashlib
import random
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

KIB, MIB = 1024, 1024 * 1024

SEED = 20260901
WORDS = ("import", "return", "const", "async", "cache", "archive", "manifest", "=>", "{", "}", "(item)", "null,", "\n")


class Kind(NamedTuple):
    """Files of a kind: where they stand, how many, how large, whether they compress, and their mode."""

    pattern: str
    number: int
    smallest: int
    largest: int
    is_text: bool
    mode: int


KINDS = (
    Kind("node_modules/package-{group:02d}/lib/module-{index:04d}.js", 1500, 0, 16 * KIB, is_text=True, mode=0o644),
    Kind("node_modules/.bin/tool-{index:02d}", 40, 200, 2 * KIB, is_text=True, mode=0o755),
    Kind("target/release/deps/lib{index:03d}.rlib", 300, 32 * KIB, 400 * KIB, is_text=False, mode=0o644),
    Kind("target/release/build-{index:02d}", 12, 4 * MIB, 14 * MIB, is_text=False, mode=0o755),
    Kind("logs/build-{index}.log", 3, 6 * MIB, 9 * MIB, is_text=True, mode=0o600),
)


class FileState(NamedTuple):
    """What a restore must bring back of a file."""

    sha256: str
    mode: int
    size: int


def grow(root: Path) -> None:
    """Some 1,850 files and 210 MB, the same ones each time. Most of it doesn't compress, as in real caches."""
    source = random.Random(SEED)  # noqa: S311 - it is to be the same each time
    text = 12 * " ".join(source.choices(WORDS, k=MIB // 6)).encode()
    for kind in KINDS:
        for index in range(kind.number):
            path = root / kind.pattern.format(index=index, group=index % 50)
            size = source.randint(kind.smallest, kind.largest)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_prose(source, text, size) if kind.is_text else source.randbytes(size))
            path.chmod(kind.mode)
    (root / "node_modules/.bin/latest").symlink_to("tool-00")


def _prose(source: random.Random, text: bytes, size: int) -> bytes:
    start = source.randrange(len(text) - size)
    return text[start : start + size]


def fingerprint(root: Path) -> dict[str, FileState]:
    """Every file, by its path below the root; a link by what it points to."""
    return {path.relative_to(root).as_posix(): _state(path) for path in _files(root)}


def _files(root: Path) -> Iterator[Path]:
    return (path for path in sorted(root.rglob("*")) if path.is_symlink() or path.is_file())


def _state(path: Path) -> FileState:
    status = path.lstat()
    mode, size = stat.S_IMODE(status.st_mode), status.st_size
    if path.is_symlink():
        return FileState(hashlib.sha256(str(path.readlink()).encode()).hexdigest(), mode, size)
    with path.open("rb") as file:
        return FileState(hashlib.file_digest(file, "sha256").hexdigest(), mode, size)


def differences(expected: Mapping[str, FileState], found: Mapping[str, FileState]) -> list[str]:
    """In words, one a file; none when the directories are equal."""
    return [
        _difference(path, expected.get(path), found.get(path))
        for path in sorted(expected.keys() | found.keys())
        if expected.get(path) != found.get(path)
    ]


def _difference(path: str, expected: FileState | None, found: FileState | None) -> str:
    if found is None:
        return f"{path} is missing"
    if expected is None:
        return f"{path} was never saved"
    if expected.sha256 != found.sha256:
        return f"{path} has other bytes"
    return f"{path} has mode {found.mode:o} instead of {expected.mode:o}"
