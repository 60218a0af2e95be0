import base64
import json
import time

import pytest

from actions_cache.domain.access import parse_rule
from actions_cache.domain.errors import Unauthenticated
from actions_cache_cli.doctor.finding import OK, TROUBLE, UNKNOWN
from actions_cache_cli.doctor.token import judge_token, read_token
from functions.api.tokens import TokenReader
from tests.support.clients.runtime_token import READ, READ_WRITE, WRITE, ac_claim, encode

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


def judged(text: str) -> tuple[str, str]:
    finding = judge_token(read_token(text, NOW))
    return finding.state, finding.detail


def test_a_good_token_is_described_by_scopes_repository_and_issuer_and_not_shown() -> None:
    state, detail = judged(token())
    assert state == OK
    for said in ("refs/heads/feature, refs/heads/main", "saves under refs/heads/feature", "42", "githubusercontent"):
        assert said in detail
    assert token()[:20] not in detail


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
def test_a_token_is_judged_as_the_server_judges_it(changes: dict[str, object], state: str) -> None:
    assert judged(token(**changes))[0] == state


def test_a_read_only_token_is_well_and_said_to_save_nothing() -> None:
    state, detail = judged(token(ac=ac_claim([("refs/pull/7/merge", READ)])))
    assert state == OK
    assert detail.startswith("read-only")
    assert "untrusted events" in detail


@pytest.mark.parametrize("text", ["", "abc", "a.b.c", "a.!!!!.c", "e30.W10.x", "a.b"])
def test_what_is_no_jwt_is_trouble(text: str) -> None:
    state, detail = judged(text)
    assert state == TROUBLE
    assert "isn't a JWT" in detail


def test_without_a_token_nothing_is_wrong_but_untold() -> None:
    assert judge_token(None).state == UNKNOWN


def claims_of(*named: tuple[str, object]) -> dict[str, object]:
    return dict(named)


GHES = "https://ghes.example/_services/token"
FAR = 10**400
ODD_VALUES: tuple[tuple[str, tuple[object, ...]], ...] = (
    ("exp", (True, "5", float("inf"), float("nan"), FAR, -FAR, 1.5)),
    ("nbf", (True, "5", [], FAR, -FAR)),
    ("repository_id", (7, True, 12.5, "*", "a#b", "0", "042", [], "\uff14", "a-b", "7" * 65)),
    ("ac", ("[" * 100_000,)),
)
PERMISSIONS: tuple[object, ...] = ("3", 2.9, True, -1, None, 3, 7)
ODD_CLAIMS = [
    *(claims_of((name, value)) for name, values in ODD_VALUES for value in values),
    *(claims_of(("repository_id", value), ("iss", GHES)) for value in ("a-b", "0", "a#b", "042")),
    *(claims_of(("ac", json.dumps([{"Scope": "x", "Permission": value}]))) for value in PERMISSIONS),
]


@pytest.mark.parametrize("claims", ODD_CLAIMS, ids=lambda it: str(it)[:40])
def test_odd_token_is_judged_as_the_server_judges_it(claims: dict[str, object]) -> None:
    now = int(time.time())
    text = token(**{"exp": now + 100, "nbf": now - 10, **claims})
    reader = TokenReader(("unread",), None, (parse_rule("any"),), verify=False, trust=None, on_refused=None)
    try:
        reader.read(f"Bearer {text}")
        is_taken = True
    except Unauthenticated:
        is_taken = False
    assert (read_token(text, now).fault is None) == is_taken


def test_token_that_is_deeper_than_python_is_none() -> None:
    assert "isn't a JWT" in judged("a." + base64.urlsafe_b64encode(b"[" * 100_002).decode() + ".c")[1]
