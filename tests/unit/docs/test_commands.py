"""Each command on each page is run by a test, here or elsewhere, or its fence says what it needs that tests lack."""

import re
import subprocess
import sys

import pytest

from dev.local.template import ROOT
from tests.unit.docs.pages import NEEDS, PAGES, SHELLS, Block, Command, all_blocks, blocks

RUN_HERE = {
    "make help": "Lists the targets",
    ".venv/bin/python -m pytest tests/unit/domain/test_claim.py -k lease": "passed",
}
"""Run as they stand, in this checkout; each must say so."""

NOTES = ("tests/unit/release/test_release_notes.py", "## Verify a release")
VERIFY = "ssh-keygen -Y verify -f release-signers -I release@serverless-actions-cache -n serverless-actions-cache"
RUN_ELSEWHERE = {
    "make run": ("tests/integration/local_run/test_crashes.py", "start_run(command=MAKE)"),
    "make token": ("tests/integration/local_run/test_run.py", '[*MAKE_ALONE, "token"]'),
    "make doctor-file": ("tests/unit/doctor/test_portable.py", '["make", "--silent", "doctor-file"'),
    "curl http://127.0.0.1:3000/health": ("tests/integration/local_run/test_run.py", 'urlopen(f"{run.url}/health")'),
    "sha256sum --check SHA256SUMS": NOTES,
    f"{VERIFY} -s SHA256SUMS.sig < SHA256SUMS": NOTES,
    f"{VERIFY} -s NOTES.md.sig < NOTES.md": NOTES,
}
"""Maps each command to the test file that runs it, and to a line of that file."""

RUN_BY_THEIR_PAGES_TEST = {
    ("docs/operate/commands.md", r"actions-cache "): ("tests/unit/cli/test_page.py", "(actions-cache .*)"),
    ("docs/operate/management.md", r"curl .*\$URL"): ("tests/e2e/test_management.py", "(curl (?:"),
}
"""Maps a page and how its commands begin to the test that finds and runs them, and to that test's own expression."""

BLOCKS = all_blocks()
SHOWN = [command for block in BLOCKS for command in block.commands]
CURRENT_PAGES = [path for path in PAGES if path.name != "CHANGELOG.md"]
"""The changelog names what was removed and renamed, too."""


def _shown(command: Command) -> str:
    return f"{command.page}: {command.text[:60]}"


def is_run(command: Command) -> bool:
    by_page = any(command.page == page and re.match(start, command.text) for page, start in RUN_BY_THEIR_PAGES_TEST)
    return command.text in RUN_HERE or command.text in RUN_ELSEWHERE or by_page


@pytest.mark.parametrize("command", SHOWN, ids=_shown)
def test_command_is_tested_or_states_its_needs(command: Command) -> None:
    said = f"name the test that runs it, or write what it needs after its fence's language: {', '.join(NEEDS)}"
    assert is_run(command) or command.needs, said


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.needs], ids=lambda block: f"{block.page}: {block.needs}"
)
def test_fence_states_only_real_needs(block: Block) -> None:
    assert block.language in SHELLS
    assert set(block.needs) <= set(NEEDS)
    assert not all(map(is_run, block.commands)), "tests run all of it: it needs nothing"


def test_contributing_page_lists_each_need() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    (line,) = re.findall(r"^- \*\*A command in the docs\*\*.*(?:\n  .*)*", page, re.MULTILINE)
    assert set(re.findall(r"`([a-z-]+)`", line)) - {"console"} == set(NEEDS)


def test_named_tests_run_commands_of_pages() -> None:
    assert len(SHOWN) > 40
    assert set(RUN_HERE) | set(RUN_ELSEWHERE) <= {command.text for command in SHOWN}
    for path, line in (*RUN_ELSEWHERE.values(), *RUN_BY_THEIR_PAGES_TEST.values()):
        assert line in (ROOT / path).read_text(), path


@pytest.mark.parametrize("command", RUN_HERE)
def test_documented_command_succeeds(command: str) -> None:
    here = command.replace(".venv/bin/python", sys.executable)
    ran = subprocess.run(["bash", "-c", here], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert RUN_HERE[command] in ran.stdout


def test_documented_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        (str(path.relative_to(ROOT)), target)
        for path in CURRENT_PAGES
        for command in re.findall(r"(?:`|^\s*\$ )make ([a-z][a-z -]*)", path.read_text(), re.MULTILINE)
        for target in command.split()
    }
    assert len(named) > 20
    assert {(page, target) for page, target in named if target not in targets} == set()


def test_documented_modules_exist() -> None:
    named = {
        (path, module)
        for path in CURRENT_PAGES
        for module in re.findall(r"python3? -m ((?:actions_cache_cli|dev|tests)\b[\w.]*)", path.read_text())
    }
    assert named
    for path, module in named:
        place = ROOT / module.replace(".", "/")
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), (path.name, module)


def test_parser_finds_commands_and_needs() -> None:
    page = (
        "```console aws key\n$ one \\\n    --two     # why\nprinted\n$ three\n```\n\n"
        "  ```sh\n  four # plainly\n  ```\n```yaml\nfive\n```\n"
    )
    commands = [command for block in blocks("page", page) for command in block.commands]
    found = [(command.text, command.comments, command.needs) for command in commands]
    assert found == [
        ("one --two", ("why",), ("aws", "key")),
        ("three", (), ("aws", "key")),
        ("four", ("plainly",), ()),
    ]
