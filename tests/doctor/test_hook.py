"""runners/hook.cjs in real node processes, and what the doctor sees of it."""

import os
import subprocess
from pathlib import Path

import pytest

from doctor import node
from doctor.examine import Case, examine
from doctor.finding import OK, TROUBLE
from doctor.place import find_place
from doctor.runner import find_runner
from doctor.variable import GITHUBS
from tests.clients.server import ROOT

HOOK = ROOT / "runners" / "hook.cjs"
URL = "https://cache.example.com/"


def seen_by_node(**variables: str) -> dict[str, str]:
    """What an action's process has, and its child."""
    script = "console.log(require('child_process').execFileSync('env', ['-0']).toString().replaceAll('\\0', '\\n'))"
    ran = subprocess.run(
        ["node", "-e", script],
        env={"PATH": os.environ["PATH"], "NODE_OPTIONS": f"--require {HOOK}", **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stderr == ""
    return dict(line.split("=", 1) for line in ran.stdout.splitlines() if "=" in line)


def test_an_action_and_what_it_starts_are_pointed_at_the_server() -> None:
    given = {"ACTIONS_RESULTS_URL": GITHUBS, "ACTIONS_CACHE_URL": "https://old.example.com/x/"}
    seen = seen_by_node(CUSTOM_ACTIONS_RESULTS_URL="https://cache.example.com", **given)
    assert seen["ACTIONS_RESULTS_URL"] == seen["ACTIONS_CACHE_URL"] == URL


@pytest.mark.parametrize("url", ["", "cache.example.com:x", "not a url"])
def test_without_a_good_url_the_hook_changes_nothing_and_says_nothing(url: str) -> None:
    assert seen_by_node(CUSTOM_ACTIONS_RESULTS_URL=url, ACTIONS_RESULTS_URL=GITHUBS)["ACTIONS_RESULTS_URL"] == GITHUBS


def test_outside_a_job_the_hook_sets_nothing() -> None:
    assert "ACTIONS_RESULTS_URL" not in seen_by_node(CUSTOM_ACTIONS_RESULTS_URL=URL)


def on_machine(directory: Path, env: str) -> tuple[str, str]:
    """What the doctor foresees on a runner's machine, from its .env."""
    (directory / ".env").write_text(env)
    variables = {"PATH": os.environ["PATH"]}
    place = find_place(variables, is_container=False)
    case = Case(variables, place, find_runner(variables, str(directory)), url=URL)
    found = next(finding for finding in examine(case) if finding.title == "what jobs are told")
    return found.state, found.detail


def test_the_doctor_on_the_machine_foresees_what_the_hook_will_do(tmp_path: Path) -> None:
    state, detail = on_machine(tmp_path, f"CUSTOM_ACTIONS_RESULTS_URL={URL}\nNODE_OPTIONS=--require {HOOK}\n")
    assert (state, "rewrites it in node's processes" in detail) == (OK, True), detail


def test_the_doctor_says_that_a_hook_without_the_url_does_nothing(tmp_path: Path) -> None:
    state, detail = on_machine(tmp_path, f"NODE_OPTIONS=--require {HOOK}\n")
    assert (state, "isn't set" in detail) == (TROUBLE, True), detail


def test_the_doctor_says_that_a_hook_which_is_not_there_stops_every_action(tmp_path: Path) -> None:
    gone = tmp_path / "gone.cjs"
    state, detail = on_machine(tmp_path, f"CUSTOM_ACTIONS_RESULTS_URL={URL}\nNODE_OPTIONS=--require {gone}\n")
    assert (state, "no action can start" in detail) == (TROUBLE, True), detail
    assert "Cannot find module" in detail


def test_what_a_hook_prints_does_not_confuse_the_doctor(tmp_path: Path) -> None:
    loud = tmp_path / "loud.cjs"
    loud.write_text("console.log('hello {\"x\": 1}')")
    variables = {"PATH": os.environ["PATH"], "NODE_OPTIONS": f"--require {loud}", "ACTIONS_RESULTS_URL": URL}
    program = node.find_node([], variables)
    assert program is not None
    assert node.view(program, variables).results_url == URL


def test_a_node_that_hangs_or_is_none_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "SECONDS", 0.2)
    for script in ("sleep 5", "echo '[1]'", "exit 3"):
        fake = tmp_path / "node"
        fake.write_text(f"#!/bin/sh\n{script}\n")
        fake.chmod(0o755)
        with pytest.raises(node.NodeFailed):
            node.view(fake, {"PATH": os.environ["PATH"]})
