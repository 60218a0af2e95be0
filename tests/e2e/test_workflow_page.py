"""The steps of docs/use/workflow.md, run as the runner runs them, with the real @actions/cache.

The stand-in for the runner does what its StepsRunner and NodeScriptActionHandler do: a step's `env:` is evaluated anew
for each stage, and the runner's own variables, which lead to GitHub's service, are set last.
"""

import hashlib
import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from dev.clients.actions_cache import ActionsCache, Outcome, StepFailed
from dev.clients.local_server import free_port
from dev.clients.runtime_token import job_variables, runtime_token
from dev.local.template import ROOT
from tests.support.fake_results_service import FakeResultsService, running_results_service

PAGE = (ROOT / "docs" / "use" / "workflow.md").read_text()
[FETCH], [USE] = [yaml.safe_load(it) for it in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
BY_OUTPUT = USE["env"]
[BY_PATH] = [dict([it.split(": ", 1)]) for it in re.findall(r"`(NODE_OPTIONS: --require [^`]*)`", PAGE)]

SHELLS = {"bash": ("bash", "--noprofile", "--norc", "-eo", "pipefail"), "sh": ("sh", "-e")}
"""Maps each shell to the arguments with which the runner starts it."""

EXPRESSION = re.compile(r"\$\{\{ ([\w.-]+) \}\}")


@pytest.fixture
def github() -> Iterator[FakeResultsService]:
    """Stands for GitHub's own service, which has no entry and takes none."""
    with running_results_service() as service:
        yield service


@dataclass
class Job:
    """One job on a runner: its directory for temporary files is its own, and its workspace is the repository's."""

    github: FakeResultsService
    workspace: Path
    temporary: Path
    repository: str
    outputs: dict[str, str] = field(default_factory=dict)

    def fetch(self, url: str, shell: str = "bash", **variables: str) -> str:
        """Run the page's first step with another URL, and return its log."""
        script, outputs = self.temporary / "step.sh", self.temporary / "outputs"
        script.write_text(FETCH["run"])
        outputs.touch()
        environment = {
            "PATH": os.environ["PATH"],
            **FETCH["env"],
            "CACHE_URL": url,
            "RUNNER_TEMP": str(self.temporary),
            "GITHUB_OUTPUT": str(outputs),
            **variables,
        }
        ran = subprocess.run(
            [str(shutil.which(SHELLS[shell][0])), *SHELLS[shell][1:], str(script)],
            cwd=self.workspace,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        )
        for name, value in (line.split("=", 1) for line in outputs.read_text().splitlines()):
            self.outputs[f"steps.{FETCH['id']}.outputs.{name}"] = value
        return ran.stdout

    def action(self, env: Mapping[str, str]) -> "Action":
        """Run one stage of an action, with the step's `env:`; what a context lacks is empty."""
        known = {**self.outputs, "runner.temp": str(self.temporary)}
        evaluated = {name: EXPRESSION.sub(lambda it: known.get(it[1], ""), value) for name, value in env.items()}
        token = runtime_token(repository=self.repository)
        return Action(self.github.url, self.workspace, token, temporary_files=self.temporary, env=evaluated)

    def led_to(self, env: Mapping[str, str]) -> str:
        """Return where an action's process looks for the cache."""
        return subprocess.run(
            ["node", "--print", "process.env.ACTIONS_RESULTS_URL"],
            env=self.action(env).variables(),
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()


@dataclass(frozen=True)
class Action(ActionsCache):
    temporary_files: Path = Path()
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def temporary(self) -> Path:
        return self.temporary_files

    def variables(self) -> dict[str, str]:
        return self._environment()

    def _environment(self) -> dict[str, str]:
        return {**super()._environment(), **self.env, **job_variables(self.server, self.token)}


@pytest.fixture
def jobs(github: FakeResultsService, tmp_path: Path, repository: str) -> Iterator[Job]:
    """Return the workflow's jobs, one after the other."""

    def each() -> Iterator[Job]:
        for number in itertools.count():
            workspace, temporary = tmp_path / "workspace", tmp_path / f"_temp-{number}"
            shutil.rmtree(workspace, ignore_errors=True)
            workspace.mkdir()
            temporary.mkdir()
            yield Job(github, workspace, temporary, repository)

    return each()


def hosts(*outcomes: Outcome) -> set[str]:
    return {urlsplit(request.url).netloc for outcome in outcomes for request in outcome.requests}


def host(url: str) -> set[str]:
    return {urlsplit(url).netloc}


def test_post_step_save_is_restored_by_next_job(server: str, github: FakeResultsService, jobs: Iterator[Job]) -> None:
    first = next(jobs)
    assert "::warning::" not in first.fetch(f"{server}/")
    missed = first.action(BY_OUTPUT).restore(["data"], "key")
    content = os.urandom(1024 * 1024)
    (first.workspace / "data").write_bytes(content)
    saved = first.action(BY_OUTPUT).save(["data"], "key")

    second = next(jobs)
    second.fetch(f"{server}/")
    restored = second.action(BY_OUTPUT).restore(["data"], "key")
    assert (missed.result, restored.result) == (None, "key"), restored.log
    assert (second.workspace / "data").read_bytes() == content
    # The archive itself goes straight to the store (tests/e2e/test_direct_saves.py).
    calls = replace(saved, requests=[request for request in saved.requests if request.method == "POST"])
    assert hosts(missed, calls) == host(server)
    assert github.asked == []


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("name", ["_temp", "a b/_temp"])
def test_hook_works_in_other_shells_and_paths(server: str, jobs: Iterator[Job], shell: str, name: str) -> None:
    job = next(jobs)
    job.temporary = job.temporary / name
    job.temporary.mkdir(parents=True)
    job.fetch(server, shell)
    assert job.led_to(BY_OUTPUT) == f"{server}/"
    assert job.led_to({"NODE_OPTIONS": f"--no-warnings {BY_OUTPUT['NODE_OPTIONS']}"}) == f"{server}/"


def test_steps_without_hook_stay_with_github(server: str, jobs: Iterator[Job]) -> None:
    job = next(jobs)
    before_the_fetch = job.led_to(BY_OUTPUT)
    job.fetch(f"{server}/")
    assert before_the_fetch == job.led_to({}) == f"{job.github.url}/"
    assert job.led_to(BY_OUTPUT) == f"{server}/"


def test_hardcoded_hook_path_breaks_earlier_steps(server: str, jobs: Iterator[Job]) -> None:
    job = next(jobs)
    with pytest.raises(StepFailed, match="Cannot find module"):
        job.action(BY_PATH).restore(["data"], "key")
    job.fetch(f"{server}/")
    assert job.led_to(BY_PATH) == f"{server}/"


def test_down_server_costs_only_a_warning(jobs: Iterator[Job]) -> None:
    """The job goes on with GitHub's cache, which misses here and takes nothing."""
    job = next(jobs)
    assert "::warning::No hook from" in job.fetch(f"http://127.0.0.1:{free_port()}/")
    assert "::warning::No hook from" in job.fetch("")
    assert job.outputs == {}
    restored = job.action(BY_OUTPUT).restore(["data"], "key")
    (job.workspace / "data").write_bytes(b"1")
    saved = job.action(BY_OUTPUT).save(["data"], "key")
    assert restored.result is None
    assert hosts(restored, saved) == host(job.github.url)


def test_hook_with_wrong_checksum_is_not_loaded(server: str, github: FakeResultsService, jobs: Iterator[Job]) -> None:
    job = next(jobs)
    assert "::warning::" in job.fetch(github.url), "which answers 200 with other bytes"
    for variable in ("HOOK_SHA256", "REQUESTS_SHA256"):
        assert "::warning::" in job.fetch(server, **{variable: hashlib.sha256(b"").hexdigest()})
    assert job.outputs == {}


@pytest.mark.parametrize(("tools", "is_loaded"), [(["sha256sum"], True), (["shasum", "perl"], True), ([], False)])
def test_hook_needs_checksum_tool(
    server: str, jobs: Iterator[Job], tmp_path: Path, tools: list[str], *, is_loaded: bool
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("curl", "cut", "mkdir", *tools):
        (programs / name).symlink_to(str(shutil.which(name)))
    job = next(jobs)
    assert ("::warning::" in job.fetch(server, PATH=str(programs))) is not is_loaded
    assert bool(job.outputs) is is_loaded


@pytest.mark.parametrize(("variable", "name"), [("HOOK_SHA256", "hook.cjs"), ("REQUESTS_SHA256", "hook-requests.cjs")])
def test_documented_checksum_matches_hook(variable: str, name: str) -> None:
    assert FETCH["env"][variable] == hashlib.sha256((ROOT / "runners" / name).read_bytes()).hexdigest()
