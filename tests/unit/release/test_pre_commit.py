"""The pre-commit hooks need nothing but the checkout's own tools, and find what they are there for."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from dev.local.template import ROOT

[LOCAL] = yaml.safe_load((ROOT / "dev" / "pre-commit.yaml").read_text())["repos"]
HOOKS = {hook["id"]: hook for hook in LOCAL["hooks"]}


def test_hooks_need_no_network() -> None:
    """pre-commit fetches other repositories, and packages for languages that have environments."""
    assert LOCAL["repo"] == "local"
    assert {hook["language"] for hook in HOOKS.values()} <= {"system", "pygrep"}


@pytest.mark.parametrize(("hook", "text"), [("ruff-check", "import os\n"), ("ruff-format", "x=1\n")])
def test_ruff_hooks_mend_files(hook: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(text)
    subprocess.run([*shlex.split(HOOKS[hook]["entry"]), str(file)], cwd=ROOT, check=False, capture_output=True)
    assert file.read_text() != text


def test_end_of_file_and_size_are_checked(tmp_path: Path) -> None:
    hook = HOOKS["end-of-file"]
    assert hook["args"] == ["--multiline"]
    flags = re.MULTILINE | re.DOTALL  # pre-commit's, for this argument
    for text, is_found in (("", False), ("a\n", False), ("a\n\nb\n", False), ("a", True), ("a\n\n", True)):
        assert bool(re.search(hook["entry"].encode(), text.encode(), flags)) == is_found, text
    small, large = tmp_path / "small file", tmp_path / "large file"
    small.write_bytes(bytes(512 * 1024))
    large.write_bytes(bytes(513 * 1024))
    command = [*shlex.split(HOOKS["large-files"]["entry"]), str(small), str(large)]
    found = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert (found.returncode, found.stdout.splitlines()) == (1, [str(large)])
