"""Each row of docs/deploy/security.md on what can grow names tests that exist."""

import re

import pytest

from dev.local.template import ROOT

HEADING = "## What can grow, and what bounds it"
SECTION = (ROOT / "docs" / "deploy" / "security.md").read_text().partition(f"{HEADING}\n")[2].partition("\n## ")[0]
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in SECTION.splitlines()
    if line.startswith("| ") and not line.startswith(("| what ", "|---"))
]
NAMED = re.compile(r"`(tests/[\w/.]+\.(?:py|mjs))::([^`]+)`")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_bounds_row_names_existing_tests(row: list[str]) -> None:
    assert len(ROWS) > 30
    assert len(row) == 4
    assert all(row)
    named = NAMED.findall(row[3])
    assert named, row[3]
    for file, test in named:
        text = (ROOT / file).read_text()
        found = f"def {test}(" in text if file.endswith(".py") else f"test('{test}'" in text
        assert found, f"{file} has no test {test}"
