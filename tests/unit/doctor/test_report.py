"""The doctor's report: trouble first and what to do about it, what is well only when asked."""

import pytest

from actions_cache_cli.doctor import __main__ as doctor
from actions_cache_cli.doctor.__main__ import report
from actions_cache_cli.doctor.report import ok, trouble, unknown, warning

FOUND = [
    ok("server", "answers"),
    unknown("token", "none here"),
    warning("other services", "not passed on", "set RESULTS_SERVICE_URL"),
    trouble("the URL", "no slash", "write https://cache.example.com/"),
]
OPEN = [
    "trouble    the URL: no slash",
    "           to do: write https://cache.example.com/",
    "warning    other services: not passed on",
    "           to do: set RESULTS_SERVICE_URL",
    "can't tell token: none here",
]
SUMMARY = "1 in trouble: 1 of 4 are well, 1 with a warning, 1 can't be told"


def test_trouble_comes_first_and_well_only_when_asked():
    assert report(FOUND, tells_all=False).splitlines() == [*OPEN, f"{SUMMARY}; -v shows what is well"]
    assert report(FOUND, tells_all=True).splitlines() == [*OPEN, "ok         server: answers", SUMMARY]
    assert report(FOUND[:1], tells_all=False) == "no trouble found: 1 of 1 are well; -v shows what is well"


def test_lines_are_broken_between_words_on_a_terminal(monkeypatch: pytest.MonkeyPatch):
    long = [trouble("lookup", "a reason " * 20, "see https://cache.example.com/" + "x" * 60)]
    assert len(report(long, tells_all=False).splitlines()) == 3
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "50")
    lines = report(long, tells_all=False).splitlines()
    assert all(len(line) <= 50 or "x" * 60 in line for line in lines)
    assert lines[1].startswith(" " * 11 + "reason")


def test_interrupted_doctor_says_what_it_has_seen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def examine(_: doctor.Case):
        yield FOUND[-1]
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "examine", examine)
    assert doctor.main([]) == 130
    out, err = capsys.readouterr()
    assert (out.splitlines()[:2], err) == (OPEN[:2], "stopped\n")
