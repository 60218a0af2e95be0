import pytest

from doctor.finding import OK, TROUBLE, UNKNOWN
from doctor.token import judge_token, read_token
from tests.clients.runtime_token import READ, READ_WRITE, WRITE, ac_claim, encode

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
