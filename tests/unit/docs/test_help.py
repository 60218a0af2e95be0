"""`make help` is read by people: in groups, the targets of a user first, on a terminal of 100 columns."""

import re
import subprocess

from dev.local.template import ROOT

OF_A_USER = ["run", "demo", "token", "deploy", "verify-deployment", "cli", "doctor", "unit", "test"]


def groups() -> list[list[str]]:
    """Return the lines of each group; that of `help` itself comes before them."""
    # `make test` would have a make below it say which directory it enters.
    command = ["make", "--no-print-directory", "help"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [block.splitlines() for block in said.split("\n\n")]


def test_each_target_is_listed_once_in_a_group() -> None:
    (own,), (_, *first), *others = groups()
    assert own.split()[0] == "help"
    assert [line.split()[0] for line in first] == OF_A_USER
    assert len(others) > 2
    assert all(re.match(r"\S.*", heading) and lines for heading, *lines in others)
    listed = [line.split()[0] for lines in (first, *(lines for _, *lines in others)) for line in lines]
    described = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert sorted(["help", *listed]) == sorted(described)
    assert [line for group in groups() for line in group if len(line) > 100] == []
