"""The page's modules that need no browser work under Node."""

import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize("name", sorted(path.name for path in HERE.glob("*.test.mjs")))
def test_javascript_tests_pass(name: str) -> None:
    run = subprocess.run(
        ["node", "--test", HERE / name], capture_output=True, text=True, timeout=60, check=False, cwd=HERE
    )
    assert run.returncode == 0, run.stdout + run.stderr
