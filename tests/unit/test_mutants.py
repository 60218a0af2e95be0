"""The mutants of `make mutants`: each still applies to the product, is a program, and names tests that exist."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from dev.local.template import ROOT
from dev.mutants import __main__ as program
from dev.mutants.mutant import Mutant, NoLongerApplies
from dev.mutants.run import Result, Verdict, read_verdict
from dev.mutants.tables import MUTANTS

ALL = [mutant for mutants in MUTANTS.values() for mutant in mutants]
[CHEAP] = [mutant for mutant in ALL if mutant.name == "a run that was replaced publishes"]


def test_mutant_names_are_unique() -> None:
    assert [name for name, times in Counter(mutant.name for mutant in ALL).items() if times > 1] == []


@pytest.mark.parametrize("mutant", ALL, ids=lambda mutant: mutant.name)
def test_mutant_applies_and_names_existing_tests(mutant: Mutant) -> None:
    text = mutant.text(ROOT)
    if mutant.file.endswith(".py"):
        ast.parse(text)
    assert mutant.tests
    for test in mutant.tests:
        file, _, name = test.partition("::")
        tests = (ROOT / file).read_text()
        assert not name or f"def {name}(" in tests


def test_mutants_use_no_undefined_names(tmp_path: Path) -> None:
    """Such a mutant would fail every test, whatever the test checks."""
    for number, mutant in enumerate(ALL):
        if mutant.file.endswith(".py"):
            (tmp_path / f"mutant_{number}.py").write_text(mutant.text(ROOT))
    ruff = ROOT / ".venv" / "bin" / "ruff"
    command = [str(ruff), "check", "--isolated", "--select=F821,F823", str(tmp_path)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("text", ["", "x = 1\nx = 1\n"], ids=["gone", "twice"])
def test_text_must_occur_once(tmp_path: Path, text: str) -> None:
    (tmp_path / "product.py").write_text(text)
    with pytest.raises(NoLongerApplies, match=r"a rule is broken: product\.py has \d times, and not once"):
        Mutant("a rule is broken", "product.py", "x = 1", "x = 2", ("test.py",)).text(tmp_path)


@pytest.mark.parametrize(
    ("code", "summary", "verdict", "why"),
    [
        (1, "FAILED t.py::test_x[a - b] - assert 1 == 2", Verdict.KILLED, "t.py::test_x[a - b]"),
        (1, "FAILED t.py::test_x", Verdict.KILLED, "t.py::test_x"),
        (0, "3 passed", Verdict.SURVIVED, "no test failed"),
        (
            1,
            "FAILED t.py::test_x - Failed: Timeout (>100.0s)",
            Verdict.BROKEN,
            "t.py::test_x: Failed: Timeout (>100.0s)",
        ),
        (1, "FAILED t.py::test_x - NameError: name 'y'", Verdict.BROKEN, "t.py::test_x: NameError: name 'y'"),
        (1, "ERROR t.py::test_x - OSError: full", Verdict.BROKEN, "t.py::test_x: OSError: full"),
        (2, "ERROR t.py - SyntaxError\n1 error in 1s", Verdict.BROKEN, "1 error in 1s"),
        (5, "", Verdict.BROKEN, "pytest ended with 5"),
    ],
)
def test_only_failed_tests_kill(code: int, summary: str, verdict: Verdict, why: str) -> None:
    assert read_verdict(code, summary) == (verdict, why)


@pytest.mark.parametrize(
    ("verdict", "code"), [(Verdict.KILLED, 0), (Verdict.SURVIVED, 1), (Verdict.BROKEN, 1)], ids=str
)
def test_only_killed_mutants_are_a_success(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verdict: Verdict, code: int
) -> None:
    monkeypatch.setattr(program, "judged", lambda mutants, *_: {each: Result(each, verdict, "why") for each in mutants})
    monkeypatch.setattr(sys, "argv", ["mutants", "--only", CHEAP.name])
    assert program.main() == code
    assert f"{1 - code} of 1 mutants were killed" in capsys.readouterr().out
