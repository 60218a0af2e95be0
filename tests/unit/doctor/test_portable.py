"""The doctor runs where nothing of this project is: on a runner image's Python 3.9, as one file."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dev.local.template import ROOT

MODULES = sorted((ROOT / "actions_cache_cli" / "doctor").glob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_module_is_python_3_9_and_standard_library(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text, feature_version=(3, 9))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    foreign = {name.partition(".")[0] for name in imported} - set(sys.stdlib_module_names) - {"actions_cache_cli"}
    assert not foreign
    assert not re.search(r"actions_cache_cli\.(?!doctor\b)", text)
    assert "from __future__ import annotations" in text or path.name == "__init__.py", "annotations are evaluated"


def test_installed_command_is_the_modules() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    module, _, name = project["project"]["scripts"]["actions-cache-doctor"].partition(":")
    assert importlib.import_module(module).main is getattr(importlib.import_module(module), name)
    assert "actions_cache_cli.doctor" in project["tool"]["setuptools"]["packages"]
    assert project["project"]["dependencies"] == []


def test_single_file_runs_alone(tmp_path: Path) -> None:
    subprocess.run(
        ["make", "--silent", "doctor-file", f"PYTHON={sys.executable}"], cwd=ROOT, check=True, capture_output=True
    )
    # -I: nothing of this directory or the environment is importable.
    command = [sys.executable, "-I", str(ROOT / "dist" / "doctor.pyz"), "--url", "nowhere"]
    ran = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True, check=False)
    assert ran.returncode == 2, ran.stderr
    assert "give it as https://HOST/" in ran.stderr


def test_make_doctor_runs_it() -> None:
    command = ["make", "--silent", "doctor", f"PYTHON={sys.executable}", "ARGS=--url nowhere"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode != 0
    assert "give it as https://HOST/" in ran.stderr
    assert ran.stdout == ""
