"""Tests where the answers of a deploy come from, which takes precedence, and the file that keeps them."""

import json
import os
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
    GitHub,
    NoSuch,
    NotAsked,
    as_toml,
    check_set_name,
    gathered,
    keep,
)
from actions_cache_cli.deploy.plan import parameter_errors
from actions_cache_cli.deploy.questions import Subject
from dev.local.template import ROOT, Template


def written(directory: Path, text: str, name: str = FILE) -> None:
    (directory / name).write_text(text)


def test_environment_overrides_file_and_samconfig(tmp_path: Path) -> None:
    written(tmp_path, '[default.global.parameters]\nstack_name = "of-sam"\nregion = "eu-west-1"\n', SAM_FILE)
    written(tmp_path, '[default]\nstack = "of-file"\nbudget_gib = 50\n')
    answers = gathered(tmp_path, "default", {"BUDGET_GIB": "70"})
    assert answers.values == {"stack": "of-file", "region": "eu-west-1", "budget_gib": "70"}
    assert answers.sources == {"stack": FILE, "region": SAM_FILE, "budget_gib": "the environment"}


def test_repeated_answer_is_not_new(tmp_path: Path) -> None:
    written(tmp_path, '[default]\nstack = "cache"\n[default.parameters]\nLogLevel = "DEBUG"\n')
    answers = gathered(tmp_path, "default", {"STACK": "cache", "PARAMETERS": "LogLevel=DEBUG"})
    assert set(answers.sources.values()) == {FILE}


def test_samconfig_environment_is_a_set_of_answers(tmp_path: Path, template: Template) -> None:
    written(tmp_path, (ROOT / SAM_FILE).read_text(), SAM_FILE)
    dev, prod = (gathered(tmp_path, name, {}) for name in ("dev", "prod"))
    assert (dev.get("stack"), dev.parameters["LogLevel"]) == ("actions-cache-dev", "DEBUG")
    assert (prod.get("stack"), prod.parameters["LogRetentionDays"]) == ("actions-cache", "90")
    assert parameter_errors(template, dev.parameters) == parameter_errors(template, prod.parameters) == []


def test_samconfig_parameters_become_answers(tmp_path: Path) -> None:
    overrides = '["TokenClaims=repository_id=4", "StoreBudgetBytes=53687091200", "LogLevel=WARN", "AlarmEmail=a@b.c"]'
    written(tmp_path, f'[prod.deploy.parameters]\nparameter_overrides = {overrides}\ntags = "team=build"\n', SAM_FILE)
    answers = gathered(tmp_path, "prod", {})
    assert answers.values == {"whose_jobs": "repository_id=4", "budget_gib": "50", "alarms": "a@b.c"}
    assert (answers.parameters, answers.tags) == ({"LogLevel": "WARN"}, {"team": "build"})


def test_new_domain_drops_the_old_certificate(tmp_path: Path) -> None:
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
def test_unreadable_file_says_where(tmp_path: Path, text: str, said: str) -> None:
    written(tmp_path, text)
    with pytest.raises(BadAnswers, match=said):
        gathered(tmp_path, "default", {})


def test_variables_words_are_split_as_by_a_shell(tmp_path: Path) -> None:
    answers = gathered(tmp_path, "default", {"TAGS": 'team="build and run" cost=a=b'})
    assert answers.tags == {"team": "build and run", "cost": "a=b"}
    for variable, text in (("PARAMETERS", "LogLevel"), ("TAGS", '"open'), ("TAGS", "=x")):
        with pytest.raises(BadAnswers, match=variable):
            gathered(tmp_path, "default", {variable: text})


@pytest.mark.parametrize("name", ["", "a b", "../x", "a.b"])
def test_set_name_is_plain(name: str) -> None:
    with pytest.raises(BadAnswers, match="take letters"):
        check_set_name(name)


def test_answers_are_kept_beside_other_sets(tmp_path: Path) -> None:
    written(tmp_path, '[prod]\nstack = "p"\nbudget_gib = 5\n[prod.tags]\nteam = "x y"\n')
    answers = Answers({"stack": "cache", "region": "us-east-1"}, {"LogLevel": "WARN"})
    path = keep(tmp_path, "default", answers)
    assert tomllib.loads(path.read_text()) == {
        "prod": {"stack": "p", "budget_gib": 5, "tags": {"team": "x y"}},
        "default": {"region": "us-east-1", "stack": "cache", "parameters": {"LogLevel": "WARN"}},
    }
    again = gathered(tmp_path, "default", {})
    assert (again.values, again.parameters, set(again.sources.values())) == (answers.values, answers.parameters, {FILE})


def test_samconfig_values_are_not_copied(tmp_path: Path) -> None:
    """A value removed from the file, such as a pause, would otherwise go on."""
    sam = '[prod.global.parameters]\nstack_name = "cache"\n[prod.deploy.parameters]\nparameter_overrides = ["{}"]\n'
    written(tmp_path, sam.format("CleanupPaused=true"), SAM_FILE)
    answers = gathered(tmp_path, "prod", {"WHOSE_JOBS": "octo-org", "PARAMETERS": "LogLevel=WARN"})
    keep(tmp_path, "prod", answers)
    written(tmp_path, sam.format("MergeMemory=2048"), SAM_FILE)
    again = gathered(tmp_path, "prod", {})
    assert again.values == {"stack": "cache", "whose_jobs": "octo-org"}
    assert again.parameters == {"LogLevel": "WARN", "MergeMemory": "2048"}


def test_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_kept_answers_are_read_back(document: dict[str, dict[str, str | dict[str, str]]]) -> None:
    assert tomllib.loads(as_toml(document)) == document


def test_each_variable_and_key_is_documented() -> None:
    page = (ROOT / "docs" / "deploy" / "deploy.md").read_text()
    for key, variable in VARIABLES.items():
        assert f"`{variable}`/`{key}`" in page


OWNER, REPOSITORY = Subject("octo-org", None), Subject("octo-org", "widgets")
ANSWERS = {
    "/users/octo-org": (200, b'{"id": 9919, "type": "Organization"}'),
    "/repos/octo-org/widgets": (301, b""),
    "/repositories/42": (200, b'{"id": 42}'),
    "/users/limited": (403, b"{}"),
    "/users/busy": (429, b"{}"),
    "/users/broken": (502, b"<html>"),
    "/users/proxied": (200, b"<html>sign in</html>"),
    "/users/empty": (200, b"{}"),
    "/users/odd": (200, b'{"id": true}'),
}


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = ANSWERS.get(self.path, (404, b"{}"))
            self.send_response(status)
            if status == 301:
                self.send_header("Location", "/repositories/42")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def program(directory: Path, text: str) -> str:
    path = directory / "gh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_public_api_follows_renames(api: str) -> None:
    assert GitHub(api).id_of(OWNER) == "9919"
    assert GitHub(api).id_of(REPOSITORY) == "42"


def test_gh_is_asked_first(api: str, tmp_path: Path) -> None:
    gh = program(tmp_path, f'[ "$1 $2" = "api repos/octo-org/secret" ] && echo \'{json.dumps({"id": 7})}\'')
    assert GitHub(api, gh).id_of(Subject("octo-org", "secret")) == "7"
    for text in ("exit 4", "echo nonsense", "echo '[1]'"):
        assert GitHub(api, program(tmp_path, text)).id_of(OWNER) == "9919", "a gh that is logged out is skipped"
    assert GitHub(api, str(tmp_path / "gone")).id_of(OWNER) == "9919"


def test_unknown_name_may_be_private(api: str) -> None:
    with pytest.raises(NoSuch, match=r"no owner called nobody: a typing error$"):
        GitHub(api).id_of(Subject("nobody", None))
    with pytest.raises(NoSuch, match=r"no repository called octo-org/secret.*gh auth login"):
        GitHub(api).id_of(Subject("octo-org", "secret"))


SAID = {
    **dict.fromkeys(("limited", "busy"), "no more requests"),
    "broken": "answers 502",
    "proxied": "isn't GitHub",
    **dict.fromkeys(("empty", "odd"), "has no id"),
}


def test_answer_without_an_id_is_refused(api: str) -> None:
    for owner, said in SAID.items():
        with pytest.raises(NotAsked, match=said):
            GitHub(api).id_of(Subject(owner, None))
    with pytest.raises(NotAsked, match="can't be reached"):
        GitHub("http://127.0.0.1:9").id_of(OWNER)


def test_environment_names_another_github(tmp_path: Path) -> None:
    gh = program(tmp_path, "exit 1")
    found = GitHub.from_environment({"PATH": str(tmp_path), "GITHUB_API_URL": "https://ghes.example/api/v3"})
    assert found == GitHub("https://ghes.example/api/v3", gh)
