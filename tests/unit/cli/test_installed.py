"""The commands need no more than `pip install` brings."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

from dev.local.template import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CORE = ROOT / "layers" / "core"


def test_every_package_is_installed() -> None:
    there = {
        ".".join(path.parent.relative_to(root).parts)
        for root, package in ((CORE, "actions_cache"), (ROOT, "actions_cache_cli"))
        for path in (root / package).rglob("*.py")
    }
    checkout_only = ("actions_cache_cli.deploy", "actions_cache_cli.try_on_aws")
    there = {name for name in there if not name.startswith(checkout_only)}
    assert there == set(PROJECT["tool"]["setuptools"]["packages"])


def test_commands_run_from_the_installed_packages(tmp_path: Path) -> None:
    """The packages are links, since building takes pip a while."""
    (tmp_path / "actions_cache_cli").symlink_to(ROOT / "actions_cache_cli")
    (tmp_path / "actions_cache").symlink_to(CORE / "actions_cache")
    module, _, name = PROJECT["project"]["scripts"]["actions-cache"].partition(":")
    program = f"import sys; from {module} import {name}; sys.exit({name}())"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, "usage"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "ACTIONS_CACHE_STACK": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "say which server" in done.stderr
