"""Every command on every page is run by a test, here or elsewhere, or says what it needs that a test doesn't have."""

import re
import subprocess
import sys
from collections import Counter

import pytest

from local.template import ROOT
from tests.docs.pages import MARKS, PAGES, Command, all_commands, commands

RUN_HERE = {
    "make help": "Lists the targets",
    ".venv/bin/python -m pytest tests/domain/test_claim.py -k lease": "passed",
}
"""Run as they stand, in this checkout; each must say so."""

RUN_ELSEWHERE = {
    "make run": ("tests/local_run/test_kills.py", "start_run(command=MAKE)"),
    "make token": ("tests/local_run/test_run.py", '[*MAKE_ALONE, "token"]'),
    "make doctor-file": ("tests/doctor/test_portable.py", '["make", "--silent", "doctor-file"'),
    "curl http://127.0.0.1:3000/health": ("tests/local_run/test_run.py", 'urlopen(f"{run.url}/health")'),
    ".venv/bin/python -m scripts.backup save tables.jsonl.gz": (
        "tests/backup/test_drill.py",
        'main(["save", str(file)])',
    ),
    "sha256sum --check SHA256SUMS": ("tests/release/test_release_notes.py", "## Verify a release"),
    "ssh-keygen -Y verify -f release-signers -I release@serverless-actions-cache -n serverless-actions-cache "
    "-s SHA256SUMS.sig < SHA256SUMS": ("tests/release/test_release_notes.py", "## Verify a release"),
    "ssh-keygen -Y verify -f release-signers -I release@serverless-actions-cache -n serverless-actions-cache "
    "-s NOTES.md.sig < NOTES.md": ("tests/release/test_release_notes.py", "## Verify a release"),
}
"""By the test file named, which has this line in it."""

RUN_BY_THEIR_PAGES_TEST = {
    ("docs/operator.md", "actions-cache "): ("tests/operate/test_page.py", "(actions-cache .*)"),
    ("docs/management.md", "curl "): ("tests/e2e/test_management.py", "(curl (?:"),
}
"""Those of a page that begin so: by a test that finds them there itself, by this expression."""

SHOWN = all_commands()


def test_the_pages_are_read_at_all() -> None:
    assert len(PAGES) > 20
    assert len(SHOWN) > 40


@pytest.mark.parametrize("command", SHOWN, ids=lambda it: f"{it.page}: {it.text[:60]}")
def test_each_command_is_run_by_a_test_or_says_what_it_needs(command: Command) -> None:
    by_page = any(command.page == page and command.text.startswith(it) for page, it in RUN_BY_THEIR_PAGES_TEST)
    is_run = command.text in RUN_HERE or command.text in RUN_ELSEWHERE or by_page
    assert is_run or command.mark, f"name the test that runs it, or mark it with one of # {', # '.join(MARKS)}"


def test_what_is_named_here_stands_on_a_page() -> None:
    assert set(RUN_HERE) | set(RUN_ELSEWHERE) <= {command.text for command in SHOWN}


@pytest.mark.parametrize("command", RUN_ELSEWHERE)
def test_the_test_that_is_named_does_run_it(command: str) -> None:
    path, line = RUN_ELSEWHERE[command]
    assert line in (ROOT / path).read_text()


@pytest.mark.parametrize("page", RUN_BY_THEIR_PAGES_TEST)
def test_the_pages_own_test_runs_what_stands_on_it(page: tuple[str, str]) -> None:
    path, expression = RUN_BY_THEIR_PAGES_TEST[page]
    assert expression in (ROOT / path).read_text()


@pytest.mark.parametrize("command", RUN_HERE)
def test_it_runs(command: str) -> None:
    here = command.replace(".venv/bin/python", sys.executable)
    ran = subprocess.run(["bash", "-c", here], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert RUN_HERE[command] in ran.stdout


def test_each_make_target_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        (str(path.relative_to(ROOT)), target)
        for path in PAGES
        for command in re.findall(r"(?:`|^\s*\$ )make ([a-z][a-z -]*)", path.read_text(), re.MULTILINE)
        for target in command.split()
    }
    assert len(named) > 20
    assert {it for it in named if it[1] not in targets} == set()


def test_each_module_that_a_command_starts_exists() -> None:
    for command in SHOWN:
        for module in re.findall(r"python3? -m ((?:scripts|doctor|local|demo|bench|operate)[\w.]*)", command.text):
            place = ROOT / module.replace(".", "/")
            assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), command


def test_commands_are_found_with_their_comments_and_without_what_they_print() -> None:
    page = (
        "```console\n$ one \\\n    --two     # AWS: why\nprinted\n$ three\n```\n\n"
        "  ```sh\n  four # no mark\n  ```\n```yaml\nfive\n```\n"
    )
    found = list(commands("page", page))
    assert [(it.text, it.mark) for it in found] == [("one --two", "AWS"), ("three", None), ("four", None)]
    assert Counter(it.page for it in found) == {"page": 3}
