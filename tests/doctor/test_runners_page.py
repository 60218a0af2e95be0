"""What docs/runners.md tells people to run, as far as it runs without a runner."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from doctor.runner import Worker, read_worker
from tests.clients.server import ROOT

PAGE = (ROOT / "docs" / "runners.md").read_text()
PROGRAM = b"MZ\0" + "\0\x27ACTIONS_RESULTS_URL\0ACTIONS_CACHE_URL\0".encode("utf-16-le")


def replace_name(directory: Path) -> subprocess.CompletedProcess[str]:
    (script,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    return subprocess.run([sys.executable, "-c", script], cwd=directory, capture_output=True, text=True, check=False)


@pytest.fixture
def worker(tmp_path: Path) -> Path:
    path = tmp_path / "bin" / "Runner.Worker.dll"
    path.parent.mkdir()
    path.write_bytes(PROGRAM)
    return path


def test_the_pages_lines_replace_the_name_and_nothing_else(tmp_path: Path, worker: Path) -> None:
    assert replace_name(tmp_path).returncode == 0
    assert len(worker.read_bytes()) == len(PROGRAM)
    assert sum(a != b for a, b in zip(worker.read_bytes(), PROGRAM, strict=True)) == 1
    assert read_worker(worker.read_bytes()) == Worker(overwrites=False, honours_custom=False)


def test_run_a_second_time_they_say_so_and_change_nothing(tmp_path: Path, worker: Path) -> None:
    replace_name(tmp_path)
    once = worker.read_bytes()
    again = replace_name(tmp_path)
    assert "done already" in again.stderr
    assert worker.read_bytes() == once


def test_the_page_names_only_tests_and_files_that_exist() -> None:
    named = re.findall(r"`(tests/[\w/.]+)`", PAGE) + re.findall(r"\]\(\.\./([\w/.]+)\)", PAGE)
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_each_line_of_the_doctor_is_on_the_page() -> None:
    source = "".join(path.read_text() for path in (ROOT / "doctor").glob("*.py"))
    titles = re.findall(r'(?:title|TITLE|LOOKUP|SAVE) = "([^"]+)"', source)
    assert len(titles) > 10
    missing = {title for title in titles if title.split("'s ")[-1] not in PAGE}
    assert missing == {"where this runs"}
