"""Tests that `make` says at once what the machine lacks."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from dev.local.template import ROOT


def make(directory: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(ROOT / "Makefile", directory)
    shutil.copytree(ROOT / "dev" / "requirements", directory / "dev" / "requirements", dirs_exist_ok=True)
    command = ["make", "--silent", *arguments]
    return subprocess.run(
        command, cwd=directory, env={**os.environ, **variables}, capture_output=True, text=True, check=False, timeout=30
    )


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (None, "run as Python"),
        ("echo 'pyenv: python3: command not found' >&2; exit 127", "(pyenv: python3: command not found)"),
        ("echo '3.10 0'", "is Python 3.10, and 3.11 or newer is needed"),
    ],
)
def test_missing_and_old_python_are_told_apart(tmp_path: Path, script: str | None, words: str):
    python = tmp_path / "python"
    if script is not None:
        program(python, script)
    ran = make(tmp_path, ".venv/.ready", f"PYTHON={python}")
    assert ran.returncode != 0
    assert words in ran.stdout
    assert "make PYTHON=/path/to" in ran.stdout
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize(
    ("missing", "target", "words"),
    [
        ("node", "demo", "Node.js is needed for the demo"),
        ("npm", "dev/clients/node_modules/.ready", "Node.js with npm is needed"),
    ],
)
def test_missing_node_or_npm_is_named(tmp_path: Path, missing: str, target: str, words: str):
    program(tmp_path / missing, "exit 127")
    (tmp_path / "dev" / "clients").mkdir(parents=True)
    (tmp_path / "dev" / "clients" / "package-lock.json").touch()
    files = (".venv/.ready", ".tools/engines/.ready", "dev/clients/node_modules/.ready")
    kept = [f"--old-file={file}" for file in files if file != target]
    ran = make(tmp_path, *kept, target, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert (ran.returncode != 0, words in ran.stdout) == (True, True)
