"""runners/hook.cjs in real node processes, and what the doctor sees of it."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from actions_cache_cli.doctor import runner as runner_module
from actions_cache_cli.doctor.__main__ import Case, examine
from actions_cache_cli.doctor.job import GITHUBS
from actions_cache_cli.doctor.report import OK, TROUBLE, WARNING
from actions_cache_cli.doctor.runner import (
    NodeFailed,
    find_node,
    find_place,
    find_runner,
    sums_of_hook,
    view_variables,
)
from dev.local.template import ROOT

HOOK = ROOT / "runners" / "hook.cjs"
URL = "https://cache.example.com/"


def seen_by_node(**variables: str) -> dict[str, str]:
    """Return the variables that an action's process has, and its child."""
    script = "console.log(require('child_process').execFileSync('env', ['-0']).toString().replaceAll('\\0', '\\n'))"
    ran = subprocess.run(
        ["node", "-e", script],
        env={
            "PATH": os.environ["PATH"],
            "NODE_OPTIONS": f"--require {HOOK}",
            "ACTIONS_RUNTIME_TOKEN": "t",
            **variables,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stderr == ""
    return dict(line.split("=", 1) for line in ran.stdout.splitlines() if "=" in line)


def test_hook_points_actions_and_children_at_the_server() -> None:
    given = {"ACTIONS_RESULTS_URL": GITHUBS, "ACTIONS_CACHE_URL": "https://old.example.com/x/"}
    seen = seen_by_node(CUSTOM_ACTIONS_RESULTS_URL="https://cache.example.com", **given)
    assert seen["ACTIONS_RESULTS_URL"] == seen["ACTIONS_CACHE_URL"] == URL


@pytest.mark.parametrize("url", ["", "cache.example.com:x", "not a url"])
def test_hook_ignores_a_bad_url_silently(url: str) -> None:
    assert seen_by_node(CUSTOM_ACTIONS_RESULTS_URL=url, ACTIONS_RESULTS_URL=GITHUBS)["ACTIONS_RESULTS_URL"] == GITHUBS
    assert "ACTIONS_RESULTS_URL" not in seen_by_node(CUSTOM_ACTIONS_RESULTS_URL=URL), "nothing is set outside a job"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Return a copy of the hook, in a directory of its own."""
    return Path(shutil.copy(HOOK, tmp_path / "hook.cjs"))


def led_to(hook: Path, **variables: str) -> str:
    given = {"ACTIONS_RESULTS_URL": GITHUBS, **variables}
    return seen_by_node(NODE_OPTIONS=f"--require {hook}", **given)["ACTIONS_RESULTS_URL"]


ATTACKERS = "https://attacker.example/"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"], ids=["plain", "with a BOM"])
def test_settings_file_overrides_the_variable(installed: Path, encoding: str) -> None:
    settings = {"url": "https://cache.example.com", "mode": "fast", "connections": 8, "when_down": "miss", "new": 1}
    installed.with_name("hook.json").write_text(json.dumps(settings), encoding=encoding)
    assert led_to(installed, CUSTOM_ACTIONS_RESULTS_URL=ATTACKERS) == led_to(installed) == URL


BROKEN = ["", "{", "null", "[]", '"https://cache.example.com/"', "{}", '{"url": 5}', '{"url": ["https://x.example"]}']
BROKEN += ['{"url": "http://cache.example.com/"}', '{"url": "cache.example.com:443"}', '{"url": null}', "[" * 100_000]


def write(content: str, path: Path) -> None:
    path.write_text(content)


BREAK: dict[str, Callable[[Path], object]] = {
    **{content[:40]: partial(write, content) for content in BROKEN},
    "a directory": Path.mkdir,
    "a dead link": lambda path: path.symlink_to("nowhere"),
}


@pytest.mark.parametrize("make", BREAK.values(), ids=BREAK)
def test_broken_settings_file_disables_the_hook(installed: Path, make: Callable[[Path], object]) -> None:
    make(installed.with_name("hook.json"))
    assert led_to(installed, CUSTOM_ACTIONS_RESULTS_URL=ATTACKERS) == GITHUBS


LOOPBACK = ["http://127.0.0.1:3000/", "http://127.9.8.7/", "http://localhost:3000/", "http://[::1]:3000/"]
ELSEWHERE = ["http://cache.example.com/", "http://127.0.0.1.example.com/", "http://localhost.example.com/"]
ELSEWHERE += ["http://[::2]/", "ftp://127.0.0.1/"]


@pytest.mark.parametrize("url", [*LOOPBACK, *ELSEWHERE])
def test_plain_http_is_for_loopback_only(installed: Path, url: str) -> None:
    expected = url if url in LOOPBACK else GITHUBS
    assert led_to(installed, CUSTOM_ACTIONS_RESULTS_URL=url) == expected
    installed.with_name("hook.json").write_text(json.dumps({"url": url}))
    assert led_to(installed) == expected


def test_hook_runs_in_old_versions_of_node() -> None:
    """Node 10 supports all of ES2018."""
    script = "require('acorn').parse(require('fs').readFileSync(process.argv[1], 'utf8'), { ecmaVersion: 2018 })"
    subprocess.run(
        ["node", "-e", script, str(HOOK)], cwd=ROOT / "tests" / "integration" / "edge", check=True, capture_output=True
    )


def on_machine(directory: Path, env: str, title: str = "what jobs are told") -> tuple[str, str]:
    """Return the doctor's finding on a runner's machine, from its .env."""
    (directory / ".env").write_text(env)
    variables = {"PATH": os.environ["PATH"]}
    place = find_place(variables, is_container=False)
    case = Case(variables, place, find_runner(variables, str(directory)), url=URL)
    found = next(finding for finding in examine(case) if finding.title == title)
    return found.state, found.text


CUSTOM = "CUSTOM_ACTIONS_RESULTS_URL"


@pytest.mark.parametrize(
    ("env", "state", "said"),
    [
        (f"{CUSTOM}={URL}\nNODE_OPTIONS=--require {HOOK}\n", OK, "rewrites it in node's processes"),
        (f"NODE_OPTIONS=--require {HOOK}\n", TROUBLE, "isn't set"),
        (f"{CUSTOM}=http://cache.example.com/\nNODE_OPTIONS=--require {HOOK}\n", TROUBLE, "isn't https"),
        (f"{CUSTOM}={URL}\nNODE_OPTIONS=--require /no/such/hook.cjs\n", TROUBLE, "no action can start"),
        (f"{CUSTOM}={URL}\nNODE_OPTIONS=--require /no/such/hook.cjs\n", TROUBLE, "Cannot find module"),
    ],
)
def test_doctor_foresees_the_hooks_effect(tmp_path: Path, env: str, state: str, said: str) -> None:
    found, detail = on_machine(tmp_path, env)
    assert (found, said in detail) == (state, True), detail


def test_doctor_names_the_broken_settings_file(tmp_path: Path, installed: Path) -> None:
    installed.with_name("hook.json").write_text("{")
    env = f"CUSTOM_ACTIONS_RESULTS_URL={URL}\nNODE_OPTIONS=--require {installed}\n"
    state, detail = on_machine(tmp_path, env)
    assert (state, "hook.json is beside it" in detail) == (TROUBLE, True), detail
    installed.with_name("hook.json").write_text('{"url": "http://cache.example.com/"}')
    assert "isn't https" in on_machine(tmp_path, env)[1]
    installed.with_name("hook.json").write_text(json.dumps({"url": URL}))
    assert on_machine(tmp_path, f"NODE_OPTIONS=--require {installed}\n")[0] == OK


@pytest.mark.parametrize(
    ("mode", "has_requests", "state", "said"),
    [
        ({}, True, OK, "mode fast"),
        ({}, False, WARNING, "hook-requests.cjs isn't beside"),
        ({"mode": "protect"}, True, OK, "mode protect"),
        ({"mode": "protect"}, False, WARNING, "only pointed"),
        ({"mode": "point"}, False, OK, "mode point"),
        ({"mode": "Fast"}, True, WARNING, "mode 'Fast' is unknown"),
        ({"mode": ["fast"]}, True, WARNING, "only pointed"),
    ],
)
def test_doctor_says_the_mode(
    tmp_path: Path, installed: Path, mode: dict[str, object], state: str, said: str, *, has_requests: bool
) -> None:
    installed.with_name("hook.json").write_text(json.dumps({"url": URL, **mode}))
    if has_requests:
        shutil.copy(HOOK.with_name("hook-requests.cjs"), tmp_path)
    found = on_machine(tmp_path, f"NODE_OPTIONS=--require {installed}\n", "what the hook does")
    assert (found[0], said in found[1]) == (state, True), found


def test_doctor_reads_the_hooks_sums(installed: Path) -> None:
    assert sums_of_hook(str(installed)) == {"hook.cjs": hashlib.sha256(HOOK.read_bytes()).hexdigest()}
    assert sums_of_hook(None) == sums_of_hook("/etc/hosts") == {}


WRITERS = "who may write the hook"


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[Path, tuple[int, int]]:
    """Provide owner and mode of files, instead of their own; all others belong to root alone."""
    known: dict[Path, tuple[int, int]] = {}
    plain = Path.stat

    def stat(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        real = plain(path, follow_symlinks=follow_symlinks)
        owner, mode = known.get(path, (0, 0o755))
        return os.stat_result((real.st_mode & ~0o7777 | mode, *real[1:4], owner, *real[5:10]))

    monkeypatch.setattr(Path, "stat", stat)
    return known


def test_doctor_accepts_files_of_root(tmp_path: Path, installed: Path, roots: dict[Path, tuple[int, int]]) -> None:
    installed.with_name("hook.json").write_text(json.dumps({"url": URL}))
    roots[tmp_path.parent] = (0, 0o1777)
    state, detail = on_machine(tmp_path, f"NODE_OPTIONS=--require {installed}\n", WRITERS)
    assert (state, detail.count(str(tmp_path))) == (OK, 3), detail


@pytest.mark.parametrize(
    "name",
    ["hook.cjs", "hook-requests.cjs", "hook.json", ".env", ""],
    ids=["hook", "requests", "settings", ".env", "directory"],
)
@pytest.mark.parametrize("owner_and_mode", [(1001, 0o755), (0, 0o775), (0, 0o757)])
def test_doctor_names_files_that_jobs_may_write(
    tmp_path: Path, roots: dict[Path, tuple[int, int]], name: str, owner_and_mode: tuple[int, int]
) -> None:
    folder, runner = tmp_path / "opt", tmp_path / "runner"
    folder.mkdir()
    runner.mkdir()
    for name_of_copy in ("hook.cjs", "hook-requests.cjs"):
        shutil.copy(HOOK.with_name(name_of_copy), folder)
    (folder / "hook.json").write_text(json.dumps({"url": URL}))
    # The runner works in its directory, which must therefore be its own.
    roots[runner] = (1001, 0o755)
    weak = runner / name if name == ".env" else folder / name
    roots[weak] = owner_and_mode
    state, detail = on_machine(runner, f"NODE_OPTIONS=--require {folder / 'hook.cjs'}\n", WRITERS)
    assert (state, "one job could leave code" in detail) == (WARNING, True), detail
    assert f"{weak} belongs to user 1001" in detail or f"{weak} is writable" in detail


def test_doctor_ignores_what_a_hook_prints(tmp_path: Path) -> None:
    loud = tmp_path / "loud.cjs"
    loud.write_text("console.log('hello {\"x\": 1}')")
    variables = {"PATH": os.environ["PATH"], "NODE_OPTIONS": f"--require {loud}", "ACTIONS_RESULTS_URL": URL}
    program = find_node([], variables)
    assert program is not None
    assert view_variables(program, variables).results_url == URL


def test_broken_node_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "NODE_SECONDS", 0.2)
    for script in ("sleep 5", "echo '[1]'", "exit 3"):
        fake = tmp_path / "node"
        fake.write_text(f"#!/bin/sh\n{script}\n")
        fake.chmod(0o755)
        with pytest.raises(NodeFailed):
            view_variables(fake, {"PATH": os.environ["PATH"]})
