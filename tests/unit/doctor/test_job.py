import base64
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actions_cache.domain.access import parse_rule
from actions_cache.domain.errors import Unauthenticated
from actions_cache_cli.doctor.address import proxy_for, read_address
from actions_cache_cli.doctor.job import (
    GITHUBS,
    Seen,
    judge_mode,
    judge_token,
    judge_variable,
    judge_version,
    judge_way,
    read_token,
)
from actions_cache_cli.doctor.report import OK, TROUBLE, UNKNOWN
from actions_cache_cli.doctor.runner import ACTION, HOST, RUN_STEP, Place, Runner, Worker, describe, find_place
from dev.clients.runtime_token import READ, READ_WRITE, WRITE, ac_claim, encode
from functions.api.tokens import TokenReader

URL = "https://cache.example.com/"
SERVER = read_address(URL)
IN_ACTION = Place(ACTION, is_container=False, is_container_job=False)
IN_CONTAINER_JOB = Place(ACTION, is_container=True, is_container_job=True)
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
    """Node sees by default what this process sees."""
    given = {} if here is None else {"ACTIONS_RESULTS_URL": here}
    runner = Runner(Path("/r"), worker, {}) if worker else None
    return Seen(
        IN_ACTION, {**(variables or {}), **given}, SERVER, by_node=by_node or here, has_node=True, runner=runner
    )


def host(worker: Worker | None = None, variables: Mapping[str, str] | None = None, by_node: str = GITHUBS) -> Seen:
    runner = Runner(Path("/r"), worker, {}) if worker else None
    return Seen(ON_HOST, variables or {}, SERVER, by_node=by_node, has_node=True, runner=runner)


def judged(seen: Seen) -> tuple[str, str]:
    (finding,) = judge_variable(seen)
    return finding.state, finding.text


def test_action_pointed_at_the_server_is_ok() -> None:
    assert judged(action(URL))[0] == judged(action("https://CACHE.example.com:443"))[0] == OK
    any_server = replace(action("https://any.example.com/"), server=None)
    assert judged(any_server)[0] == OK, "none is expected"
    assert judged(replace(action(GITHUBS), server=None))[0] == TROUBLE


WORKFLOW = {"GITHUB_WORKFLOW_REF": "o/r/.github/workflows/w.yml@main"}


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (action(None), "isn't set"),
        (action("cache"), "leads nowhere"),
        (action("https://other.example.com/"), "another server, or another name of this one"),
        (action(GITHUBS), "Nothing here changes that"),
        (action(GITHUBS, WORKFLOW), "A workflow's env: can't set it"),
        (action(GITHUBS, CUSTOM), "this runner ignores it: its program lacks the patch"),
        (action(GITHUBS, CUSTOM, worker=PLAIN), "lacks the patch"),
        (action(GITHUBS, CUSTOM, worker=FORK), "put it into its .env and restart"),
        (action(GITHUBS, HOOK), "/opt/hook.cjs, but it changed nothing; there is no hook.json"),
        (action(GITHUBS, {**CUSTOM, **HOOK}), "/opt/hook.cjs, but it changed nothing"),
        (
            replace(action(GITHUBS, CUSTOM), place=IN_CONTAINER_JOB),
            "in a container job neither its NODE_OPTIONS nor its .env count",
        ),
        (replace(action(URL, HOOK), node_error="node ends with 1", has_node=False), "no action can start"),
        (replace(action(URL, HOOK), node_error="node ends with 1", has_node=False), "/opt/hook.cjs"),
    ],
)
def test_action_pointed_elsewhere_is_told_why(seen: Seen, said: str) -> None:
    state, detail = judged(seen)
    assert (state, said in detail) == (TROUBLE, True), detail


def test_variable_changed_in_node_alone_is_trouble() -> None:
    by_hook, others = judge_variable(action(GITHUBS, HOOK, by_node=URL))
    assert by_hook.state == OK
    assert "by the hook /opt/hook.cjs" in by_hook.detail
    assert others.state == TROUBLE
    assert "sccache or buildx" in others.text


ELSEWHERE = "https://other.example.com/"


@pytest.mark.parametrize(
    ("seen", "state", "said"),
    [
        (host(PLAIN), TROUBLE, "Nothing here changes that"),
        (host(PLAIN, CUSTOM), TROUBLE, "lacks the patch"),
        (host(FORK), TROUBLE, "GitHub's own"),
        (host(FORK, CUSTOM), OK, "honours"),
        (host(FORK, {"CUSTOM_ACTIONS_RESULTS_URL": ELSEWHERE}), TROUBLE, "not https://cache.example.com"),
        (host(FORK, {"CUSTOM_ACTIONS_RESULTS_URL": "cache"}), TROUBLE, "leads nowhere"),
        (host(REPLACED), TROUBLE, "nothing sets it"),
        (host(REPLACED, {"ACTIONS_RESULTS_URL": URL}), OK, "leaves ACTIONS_RESULTS_URL alone"),
        (host(PLAIN, HOOK, by_node=URL), OK, "the hook /opt/hook.cjs rewrites it"),
        (host(None, HOOK, by_node=URL), OK, "the hook /opt/hook.cjs rewrites it"),
        (host(PLAIN, HOOK, by_node=ELSEWHERE), TROUBLE, "not https://cache.example.com"),
        (host(None, HOOK), TROUBLE, "but it changed nothing"),
        (host(None, CUSTOM), UNKNOWN, "--runner"),
        (host(), UNKNOWN, "--runner"),
        (replace(host(), place=replace(ON_HOST, kind=RUN_STEP)), UNKNOWN, "actions/github-script"),
    ],
)
def test_variable_is_foreseen_on_the_machine(seen: Seen, state: str, said: str) -> None:
    found = judged(seen)
    assert (found[0], said in found[1]) == (state, True), found


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
def test_place_follows_the_runners_variables(variables: dict[str, str], kind: str, is_container_job: bool) -> None:
    place = find_place(variables, is_container=False)
    assert (place.kind, place.is_container_job) == (kind, is_container_job)


def test_container_is_mentioned_in_the_place() -> None:
    job = find_place({"ACTIONS_RESULTS_URL": URL, "GITHUB_WORKSPACE": "/__w/r/r"}, is_container=True)
    assert "NODE_OPTIONS and the runner's .env don't come in" in describe(job).detail
    alone = describe(find_place({}, is_container=True))
    assert "; in a container; what jobs get" in alone.detail
    assert (alone.state, "127.0.0.1" in alone.detail) == (OK, False)


GHES = {"GITHUB_SERVER_URL": "https://github.corp.example", "ACTIONS_CACHE_SERVICE_V2": "True"}


@pytest.mark.parametrize(
    ("variables", "state", "said"),
    [
        ({"ACTIONS_CACHE_SERVICE_V2": "True"}, OK, "v2"),
        ({"ACTIONS_CACHE_SERVICE_V2": "True", "GITHUB_SERVER_URL": "https://octo.ghe.com"}, OK, "v2"),
        ({"ACTIONS_CACHE_SERVICE_V2": "false"}, TROUBLE, "buildx takes it for no"),
        ({"ACTIONS_CACHE_SERVICE_V2": "yes"}, TROUBLE, "buildx takes it for no"),
        ({}, TROUBLE, "ACTIONS_CACHE_URL isn't set"),
        ({"ACTIONS_CACHE_URL": "https://cache.example.com/"}, OK, "v1"),
        ({"ACTIONS_CACHE_URL": "https://cache.example.com"}, TROUBLE, "ends without a slash"),
        ({"ACTIONS_CACHE_URL": "cache"}, TROUBLE, "leads nowhere"),
        (GHES, TROUBLE, "GHES"),
        ({**GHES, "ACTIONS_CACHE_URL": "https://github.corp.example/x/"}, TROUBLE, "not https://cache.example.com"),
        ({**GHES, "ACTIONS_CACHE_URL": "https://cache.example.com/"}, OK, "GHES"),
    ],
)
def test_api_version_follows_the_variables(variables: Mapping[str, str], state: str, said: str) -> None:
    finding = judge_version(variables, SERVER)
    assert (finding.state, said in finding.text) == (state, True), finding


def test_cache_mode_none_is_trouble() -> None:
    assert judge_mode({"ACTIONS_CACHE_MODE": " None "}).state == TROUBLE
    assert "none is saved" in judge_mode({"ACTIONS_CACHE_MODE": "read"}).detail
    assert judge_mode({"ACTIONS_CACHE_MODE": "sometimes"}) is None
    assert judge_mode({}) is None


PROXIES = {"http_proxy": "http://plain:1", "HTTPS_PROXY": "http://user:secret@secure:2"}


SECURE, PLAIN_PROXY = "http://user:secret@secure:2", "http://plain:1"


@pytest.mark.parametrize(
    ("url", "no_proxy", "proxy"),
    [
        ("http://cache.example.com/", "", PLAIN_PROXY),
        *(("https://cache.example.com/", kept, SECURE) for kept in ("", "cache.example.com:80", "ample.com")),
        *(("https://cache.example.com/", kept, None) for kept in ("example.com", ".EXAMPLE.com", "other, *")),
        ("https://cache.example.com/", "cache.example.com:443", None),
        ("http://127.0.0.1:3000/", "", None),
        ("http://localhost:3000/", "", None),
    ],
)
def test_proxy_is_chosen_as_by_actions_http_client(url: str, no_proxy: str, proxy: str | None) -> None:
    assert proxy_for(read_address(url), {**PROXIES, "NO_PROXY": no_proxy}) == proxy


def test_proxy_is_shown_without_its_password_and_judged() -> None:
    finding = judge_way(SERVER, PROXIES)
    assert finding.state == OK
    assert "http://secure:2" in finding.text
    assert "secret" not in finding.text
    wildcard = judge_way(SERVER, {**PROXIES, "NO_PROXY": "*.example.com"})
    assert (wildcard.state, "write cache.example.com" in wildcard.text) == (TROUBLE, True)
    assert judge_way(SERVER, {"https_proxy": "https://secure:2"}).state == UNKNOWN
    assert judge_way(SERVER, {}) is None
    assert "not for cache.example.com" in judge_way(SERVER, {**PROXIES, "NO_PROXY": "*"}).detail


NOW = 1_800_000_000
MARGIN = 30


def token(**changes: object) -> str:
    claims = {
        "iss": "https://token.actions.githubusercontent.com",
        "nbf": NOW - 10,
        "exp": NOW + 3600,
        "repository_id": "42",
        "ac": ac_claim([("refs/heads/feature", READ_WRITE), ("refs/heads/main", READ)]),
    }
    return encode({name: value for name, value in (claims | changes).items() if value is not None})


def judged_token(text: str) -> tuple[str, str]:
    finding = judge_token(read_token(text, NOW))
    return finding.state, finding.text


def test_good_token_is_described_and_not_shown() -> None:
    state, detail = judged_token(token())
    assert state == OK
    for said in ("refs/heads/feature, refs/heads/main", "saves under refs/heads/feature", "42", "githubusercontent"):
        assert said in detail
    assert token()[:20] not in detail
    state, detail = judged_token(token(ac=ac_claim([("refs/pull/7/merge", READ)])))
    assert state == OK
    assert detail.startswith("read-only")
    assert "untrusted events" in detail
    assert judge_token(None).state == UNKNOWN


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"exp": NOW - MARGIN}, OK),
        ({"exp": NOW - MARGIN - 1}, TROUBLE),
        ({"nbf": NOW + MARGIN}, OK),
        ({"nbf": NOW + MARGIN + 1}, TROUBLE),
        ({"nbf": None}, OK),
        ({"exp": None}, TROUBLE),
        ({"repository_id": None}, TROUBLE),
        ({"ac": None}, TROUBLE),
        ({"ac": "[]"}, TROUBLE),
        ({"ac": [{"Scope": "refs/heads/main", "Permission": 3}]}, TROUBLE),
        ({"ac": '[{"Scope": "refs/heads/main"}]'}, TROUBLE),
        ({"ac": ac_claim([("refs/heads/main", WRITE)])}, TROUBLE),
    ],
)
def test_token_is_judged_as_by_the_server(changes: dict[str, object], state: str) -> None:
    assert judged_token(token(**changes))[0] == state


DEEP = "a." + base64.urlsafe_b64encode(b"[" * 100_002).decode() + ".c"


@pytest.mark.parametrize("text", ["", "abc", "a.b.c", "a.!!!!.c", "e30.W10.x", "a.b", DEEP], ids=lambda it: it[:9])
def test_malformed_token_is_trouble(text: str) -> None:
    state, detail = judged_token(text)
    assert state == TROUBLE
    assert "isn't a JWT" in detail


GHES_ISSUER = "https://ghes.example/_services/token"
FAR = 10**400
ODD_VALUES: tuple[tuple[str, tuple[object, ...]], ...] = (
    ("exp", (True, "5", float("inf"), float("nan"), FAR, -FAR, 1.5)),
    ("nbf", (True, "5", [], FAR, -FAR)),
    ("repository_id", (7, True, 12.5, "*", "a#b", "0", "042", [], "\uff14", "a-b", "7" * 65)),
    ("ac", ("[" * 100_000,)),
)
PERMISSIONS: tuple[object, ...] = ("3", 2.9, True, -1, None, 3, 7)
ODD_CLAIMS: list[dict[str, Any]] = [
    *({name: value} for name, values in ODD_VALUES for value in values),
    *({"repository_id": value, "iss": GHES_ISSUER} for value in ("a-b", "0", "a#b", "042")),
    *({"ac": json.dumps([{"Scope": "x", "Permission": value}])} for value in PERMISSIONS),
]


@pytest.mark.parametrize("claims", ODD_CLAIMS, ids=lambda item: str(item)[:40])
def test_odd_token_is_judged_as_by_the_server(claims: dict[str, object]) -> None:
    now = int(time.time())
    text = token(**{"exp": now + 100, "nbf": now - 10, **claims})
    reader = TokenReader(("unread",), None, (parse_rule("any"),), verify=False, trust=None, on_refused=None)
    try:
        reader.read(f"Bearer {text}")
        is_taken = True
    except Unauthenticated:
        is_taken = False
    assert (read_token(text, now).error is None) == is_taken
