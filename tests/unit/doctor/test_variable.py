from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from actions_cache_cli.doctor.address import read_address
from actions_cache_cli.doctor.finding import OK, TROUBLE, UNKNOWN
from actions_cache_cli.doctor.place import ACTION, HOST, RUN_STEP, Place, describe, find_place
from actions_cache_cli.doctor.runner import Runner, Worker
from actions_cache_cli.doctor.variable import GITHUBS, Seen, judge_variable

URL = "https://cache.example.com/"
SERVER = read_address(URL)
IN_ACTION = Place(ACTION, is_container=False, is_container_job=False)
ON_HOST = Place(HOST, is_container=False, is_container_job=False)
PLAIN = Worker(overwrites=True, honours_custom=False)
FORK = Worker(overwrites=True, honours_custom=True)
REPLACED = Worker(overwrites=False, honours_custom=False)
CUSTOM = {"CUSTOM_ACTIONS_RESULTS_URL": URL}
HOOK = {"NODE_OPTIONS": "--max-old-space-size=4096 --require /opt/hook.cjs"}


def action(
    here: str | None,
    variables: Mapping[str, str] | None = None,
    by_node: str | None = None,
    worker: Worker | None = None,
) -> Seen:
    """By default node sees what this process sees."""
    told = {} if here is None else {"ACTIONS_RESULTS_URL": here}
    runner = Runner(Path("/r"), worker, {}) if worker else None
    return Seen(IN_ACTION, {**(variables or {}), **told}, SERVER, by_node=by_node or here, has_node=True, runner=runner)


def host(worker: Worker | None = None, variables: Mapping[str, str] | None = None, by_node: str = GITHUBS) -> Seen:
    runner = Runner(Path("/r"), worker, {}) if worker else None
    return Seen(ON_HOST, variables or {}, SERVER, by_node=by_node, has_node=True, runner=runner)


def judged(seen: Seen) -> tuple[str, str]:
    (finding,) = judge_variable(seen)
    return finding.state, finding.detail


def test_an_action_that_is_told_the_expected_server_is_well() -> None:
    assert judged(action(URL))[0] == OK
    assert judged(action("https://CACHE.example.com:443"))[0] == OK


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (action(None), "isn't set"),
        (action("cache"), "leads nowhere"),
        (action("https://other.example.com/"), "another server, or another name of this one"),
        (action(GITHUBS), "Nothing here changes that"),
        (
            action(GITHUBS, {"GITHUB_WORKFLOW_REF": "o/r/.github/workflows/w.yml@main"}),
            "A workflow's env: can't set it",
        ),
        (action(GITHUBS, CUSTOM), "this runner ignores it: its program lacks the patch"),
        (action(GITHUBS, CUSTOM, worker=PLAIN), "lacks the patch"),
        (action(GITHUBS, CUSTOM, worker=FORK), "put it into its .env and restart"),
        (action(GITHUBS, HOOK), "/opt/hook.cjs, but it changed nothing; there is no hook.json"),
        (action(GITHUBS, {**CUSTOM, **HOOK}), "/opt/hook.cjs, but it changed nothing"),
    ],
)
def test_an_action_that_is_told_of_anything_else_is_in_trouble_and_is_told_why(seen: Seen, said: str) -> None:
    state, detail = judged(seen)
    assert (state, said in detail) == (TROUBLE, True), detail


def test_a_container_job_is_told_that_the_machines_hook_does_not_count() -> None:
    place = Place(ACTION, is_container=True, is_container_job=True)
    _, detail = judged(replace(action(GITHUBS, CUSTOM), place=place))
    assert "in a container job neither its NODE_OPTIONS nor its .env count" in detail


def test_what_only_nodes_processes_see_is_trouble_for_all_others() -> None:
    by_hook, others = judge_variable(action(GITHUBS, HOOK, by_node=URL))
    assert by_hook.state == OK
    assert "by the hook /opt/hook.cjs" in by_hook.detail
    assert others.state == TROUBLE
    assert "sccache or buildx" in others.detail


def test_without_an_expected_server_only_githubs_own_is_trouble() -> None:
    assert judged(replace(action("https://any.example.com/"), server=None))[0] == OK
    assert judged(replace(action(GITHUBS), server=None))[0] == TROUBLE


def test_a_node_that_does_not_start_is_trouble_with_the_options_it_was_started_with() -> None:
    seen = replace(action(URL, HOOK), node_fault="node ends with 1: Cannot find module", has_node=False)
    state, detail = judged(seen)
    assert state == TROUBLE
    assert "no action can start" in detail
    assert "/opt/hook.cjs" in detail


@pytest.mark.parametrize(
    ("seen", "state", "said"),
    [
        (host(PLAIN), TROUBLE, "Nothing here changes that"),
        (host(PLAIN, CUSTOM), TROUBLE, "lacks the patch"),
        (host(FORK), TROUBLE, "GitHub's own"),
        (host(FORK, CUSTOM), OK, "honours"),
        (
            host(FORK, {"CUSTOM_ACTIONS_RESULTS_URL": "https://other.example.com/"}),
            TROUBLE,
            "not https://cache.example.com",
        ),
        (host(FORK, {"CUSTOM_ACTIONS_RESULTS_URL": "cache"}), TROUBLE, "leads nowhere"),
        (host(REPLACED), TROUBLE, "nothing sets it"),
        (host(REPLACED, {"ACTIONS_RESULTS_URL": URL}), OK, "leaves ACTIONS_RESULTS_URL alone"),
        (host(PLAIN, HOOK, by_node=URL), OK, "the hook /opt/hook.cjs rewrites it"),
        (host(None, HOOK, by_node=URL), OK, "the hook /opt/hook.cjs rewrites it"),
        (host(PLAIN, HOOK, by_node="https://other.example.com/"), TROUBLE, "not https://cache.example.com"),
        (host(None, HOOK), TROUBLE, "but it changed nothing"),
        (host(None, CUSTOM), UNKNOWN, "--runner"),
        (host(), UNKNOWN, "--runner"),
    ],
)
def test_on_the_machine_it_is_foreseen_what_the_runner_will_tell_an_action(seen: Seen, state: str, said: str) -> None:
    found = judged(seen)
    assert (found[0], said in found[1]) == (state, True), found


def test_a_run_step_is_told_how_to_see_an_actions_variables() -> None:
    place = Place(RUN_STEP, is_container=False, is_container_job=False)
    assert "actions/github-script" in judged(replace(host(), place=place))[1]


@pytest.mark.parametrize(
    ("variables", "kind", "is_container_job"),
    [
        ({}, HOST, False),
        ({"GITHUB_ACTIONS": "true"}, RUN_STEP, False),
        ({"GITHUB_ACTIONS": "true", "ACTIONS_RUNTIME_TOKEN": "x"}, ACTION, False),
        ({"ACTIONS_RESULTS_URL": URL}, ACTION, False),
        ({"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": "/__w/repo/repo"}, RUN_STEP, True),
        ({"ACTIONS_RESULTS_URL": URL, "GITHUB_WORKSPACE": "/github/workspace"}, ACTION, True),
        ({"ACTIONS_RESULTS_URL": URL, "GITHUB_WORKSPACE": "/home/runner/_work/r/r"}, ACTION, False),
    ],
)
def test_the_place_is_known_by_what_the_runner_sets(
    variables: dict[str, str], kind: str, is_container_job: bool
) -> None:
    place = find_place(variables, is_container=False)
    assert (place.kind, place.is_container_job) == (kind, is_container_job)


def test_in_a_container_the_line_says_that_the_machine_is_elsewhere() -> None:
    job = find_place({"ACTIONS_RESULTS_URL": URL, "GITHUB_WORKSPACE": "/__w/r/r"}, is_container=True)
    assert "NODE_OPTIONS and the runner's .env don't come in" in describe(job).detail
    assert "; in a container; what jobs get" in describe(find_place({}, is_container=True)).detail


def test_place_that_is_well_is_told_without_a_warning() -> None:
    finding = describe(find_place({}, is_container=True))
    assert (finding.state, "127.0.0.1" in finding.detail) == (OK, False)
