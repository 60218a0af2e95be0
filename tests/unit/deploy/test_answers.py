"""Tests where the answers of a deploy come from, which takes precedence, and the file that keeps them."""

import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions_cache_cli.deploy.answers import (
    FILE,
    SAM_FILE,
    VARIABLES,
    Answers,
    BadAnswers,
    as_toml,
    check_set_name,
    gathered,
    keep,
)
from actions_cache_cli.deploy.plan import parameter_errors
from dev.local.template import ROOT, Template


def written(directory: Path, text: str, name: str = FILE) -> None:
    (directory / name).write_text(text)


def test_environment_precedes_file_and_file_precedes_samconfig(tmp_path: Path) -> None:
    written(tmp_path, '[default.global.parameters]\nstack_name = "of-sam"\nregion = "eu-west-1"\n', SAM_FILE)
    written(tmp_path, '[default]\nstack = "of-file"\nbudget_gib = 50\n')
    answers = gathered(tmp_path, "default", {"BUDGET_GIB": "70"})
    assert answers.values == {"stack": "of-file", "region": "eu-west-1", "budget_gib": "70"}
    assert answers.sources == {"stack": FILE, "region": SAM_FILE, "budget_gib": "the environment"}


def test_saying_the_same_again_is_no_news(tmp_path: Path) -> None:
    written(tmp_path, '[default]\nstack = "cache"\n[default.parameters]\nLogLevel = "DEBUG"\n')
    answers = gathered(tmp_path, "default", {"STACK": "cache", "PARAMETERS": "LogLevel=DEBUG"})
    assert set(answers.sources.values()) == {FILE}


def test_a_set_of_samconfig_is_a_set_of_answers(tmp_path: Path, template: Template) -> None:
    written(tmp_path, (ROOT / SAM_FILE).read_text(), SAM_FILE)
    dev, prod = (gathered(tmp_path, name, {}) for name in ("dev", "prod"))
    assert dev.get("stack") == "actions-cache-dev"
    assert dev.parameters["LogLevel"] == "DEBUG"
    assert prod.get("stack") == "actions-cache"
    assert prod.parameters["LogRetentionDays"] == "90"
    assert parameter_errors(template, dev.parameters) == parameter_errors(template, prod.parameters) == []


def test_parameters_of_samconfig_that_are_answers_become_them(tmp_path: Path) -> None:
    overrides = '["TokenClaims=repository_id=4", "StoreBudgetBytes=53687091200", "LogLevel=WARN", "AlarmEmail=a@b.c"]'
    written(tmp_path, f'[prod.deploy.parameters]\nparameter_overrides = {overrides}\ntags = "team=build"\n', SAM_FILE)
    answers = gathered(tmp_path, "prod", {})
    assert answers.values == {
        "whose_jobs": "repository_id=4",
        "budget_gib": "50",
        "alarms": "a@b.c",
    }
    assert (answers.parameters, answers.tags) == ({"LogLevel": "WARN"}, {"team": "build"})


def test_a_newer_domain_takes_the_older_ones_certificate_along(tmp_path: Path) -> None:
    arn = "arn:aws:acm:us-east-1:123456789012:certificate/1"
    written(tmp_path, f'[default]\ndomain = "a.b.c"\ncertificate = "{arn}"\n')
    assert gathered(tmp_path, "default", {"DOMAIN": "a.b.c"}).get("certificate") == arn
    assert gathered(tmp_path, "default", {"DOMAIN": "d.b.c"}).get("certificate") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[default", "deploy.local.toml can't be read"),
        ("default = 1", "default is no table"),
        ('[default]\nregoin = "x"', r"there is no key regoin; there are region, stack"),
        ("[default]\nbudget_gib = true", "put the value of budget_gib into quotes"),
        ("[default]\nstack = [1]", "put the value of stack into quotes"),
        ("[default.parameters]\nLogLevel = 1", "parameters has to hold lines like"),
        ('[default.parameters]\nTokenClaims = "any"', r"TokenClaims is set by the answer whose_jobs \(WHOSE_JOBS"),
        ('[default]\narchitecture = "sparc"', "take arm64 or x86_64"),
    ],
)
def test_a_file_that_cant_be_read_says_where(tmp_path: Path, text: str, said: str) -> None:
    written(tmp_path, text)
    with pytest.raises(BadAnswers, match=said):
        gathered(tmp_path, "default", {})


@pytest.mark.parametrize(("variable", "text"), [("PARAMETERS", "LogLevel"), ("TAGS", '"open'), ("TAGS", "=x")])
def test_a_variable_that_cant_be_read_is_named(tmp_path: Path, variable: str, text: str) -> None:
    with pytest.raises(BadAnswers, match=variable):
        gathered(tmp_path, "default", {variable: text})


def test_words_with_spaces_are_read_as_a_shell_does(tmp_path: Path) -> None:
    answers = gathered(tmp_path, "default", {"TAGS": 'team="build and run" cost=a=b'})
    assert answers.tags == {"team": "build and run", "cost": "a=b"}


@pytest.mark.parametrize("name", ["", "a b", "../x", "a.b"])
def test_a_set_has_a_plain_name(name: str) -> None:
    with pytest.raises(BadAnswers, match="take letters"):
        check_set_name(name)


def test_answers_are_kept_beside_those_of_other_sets(tmp_path: Path) -> None:
    written(tmp_path, '[prod]\nstack = "p"\nbudget_gib = 5\n[prod.tags]\nteam = "x y"\n')
    answers = Answers({"stack": "cache", "region": "us-east-1"}, {"LogLevel": "WARN"})
    path = keep(tmp_path, "default", answers)
    assert tomllib.loads(path.read_text()) == {
        "prod": {"stack": "p", "budget_gib": 5, "tags": {"team": "x y"}},
        "default": {"region": "us-east-1", "stack": "cache", "parameters": {"LogLevel": "WARN"}},
    }
    again = gathered(tmp_path, "default", {})
    assert (again.values, again.parameters, set(again.sources.values())) == (answers.values, answers.parameters, {FILE})


def test_what_samconfig_says_stays_there_alone(tmp_path: Path) -> None:
    """Otherwise what is removed from the file, such as a pause, would go on."""
    sam = '[prod.global.parameters]\nstack_name = "cache"\n[prod.deploy.parameters]\nparameter_overrides = ["{}"]\n'
    written(tmp_path, sam.format("CleanupPaused=true"), SAM_FILE)
    answers = gathered(tmp_path, "prod", {"WHOSE_JOBS": "octo-org", "PARAMETERS": "LogLevel=WARN"})
    keep(tmp_path, "prod", answers)
    written(tmp_path, sam.format("MergeMemory=2048"), SAM_FILE)
    again = gathered(tmp_path, "prod", {})
    assert again.values == {"stack": "cache", "whose_jobs": "octo-org"}
    assert again.parameters == {"LogLevel": "WARN", "MergeMemory": "2048"}


def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, '[default]\nstack = "old"\n')

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(BadAnswers, match="can't be written: No space"):
        keep(tmp_path, "default", Answers({"stack": "new"}))
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert gathered(tmp_path, "default", {}).get("stack") == "old"


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


@given(st.dictionaries(TEXT, st.dictionaries(TEXT, TEXT | st.dictionaries(TEXT, TEXT, max_size=3), max_size=3)))
def test_whatever_is_kept_is_read_back(document: dict[str, dict[str, str | dict[str, str]]]) -> None:
    assert tomllib.loads(as_toml(document)) == document


def test_git_ignores_the_file() -> None:
    assert FILE in (ROOT / ".gitignore").read_text().splitlines()


def test_each_variable_and_key_is_documented() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text()
    for key, variable in VARIABLES.items():
        assert f"| `{variable}` | `{key}` |" in page
