"""The edge's JavaScript: its own tests under Node, and its agreement with the Python core."""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize("name", sorted(path.name for path in HERE.glob("*.test.mjs")))
def test_javascript_tests_pass(name: str) -> None:
    if name == "njs.test.mjs" and shutil.which("njs") is None:
        pytest.skip("njs, the engine of CloudFront's runtime, isn't on PATH: install Debian's package njs")
    if name == "syntax.test.mjs" and not (HERE / "node_modules" / "acorn").is_dir():
        pytest.fail("acorn isn't installed: run `make test`, or `npm ci` in tests/integration/edge")
    run = subprocess.run(
        ["node", "--test", HERE / name], capture_output=True, text=True, timeout=60, check=False, cwd=HERE
    )
    assert run.returncode == 0, run.stdout + run.stderr
