"""TOKEN_CLAIMS decides which jobs are admitted, for each issuer and each token."""

from itertools import product
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from actions_cache.domain.access import (
    GITHUB,
    SPELLINGS,
    Anybody,
    Caller,
    ClaimRule,
    Rule,
    Scope,
    canonical,
    check_claims,
    check_rules,
    parse_rule,
    values_of,
)
from actions_cache.domain.errors import PermissionDenied, Unauthenticated
from actions_cache.domain.refused_job import NotAdmitted, RefusedJob

GHES = "https://ghes.example/_services/token"
BOTH = (GITHUB, GHES)
OF_42: dict[str, Any] = {"repository_id": "42", "repository_owner_id": "7", "environment": "prod"}
OF_999: dict[str, Any] = {"repository_id": "999", "repository_owner_id": "8"}


def rules(text: str) -> list[Rule]:
    return [parse_rule(rule) for rule in text.split(",") if rule]


def is_admitted(rules_: list[Rule], issuer: str, claims: dict[str, Any], issuers: tuple[str, ...] = BOTH) -> bool:
    try:
        check_claims(rules_, issuer, claims, issuers)
    except NotAdmitted:
        return False
    return True


# ---------------------------------------------------------------- issuers x rules x tokens


@pytest.mark.parametrize(
    ("text", "github_42", "github_999", "ghes_42", "ghes_999"),
    [
        ("", False, False, False, False),
        ("any", True, True, True, True),
        (f"any@{GITHUB}", True, True, False, False),
        (f"any@{GHES}", False, False, True, True),
        (f"any@{GHES}/", False, False, True, True),
        (f"any@{GITHUB},any@{GHES}", True, True, True, True),
        (f"repository_id=42@{GHES}", False, False, True, False),
        (f"repository_id=42@{GITHUB}", True, False, False, False),
        (f"repository_id=42@{GHES},any@{GITHUB}", True, True, True, False),
        (f"repository_id=42@{GHES},repository_id=999@{GITHUB}", False, True, True, False),
        (f"repository_id=42@{GHES},repository_id=999@{GHES}", False, False, True, True),
        (f"repository_id=42@{GHES},repository_owner_id=8@{GHES}", False, False, False, False),
        (f"repository_id=42@{GHES},repository_owner_id=7@{GHES}", False, False, True, False),
        ("environment=prod", True, False, True, False),
        (f"environment=prod,repository_id=42@{GHES}", True, False, True, False),
        (f"environment=test,repository_id=42@{GHES}", False, False, False, False),
        ("environment=test,environment=prod", True, False, True, False),
    ],
)
def test_issuer_admits_jobs_by_its_rules(text, github_42, github_999, ghes_42, ghes_999):
    configured = rules(text)
    check_rules(configured, BOTH)
    admitted = [is_admitted(configured, issuer, claims) for issuer in BOTH for claims in (OF_42, OF_999)]
    assert admitted == [github_42, github_999, ghes_42, ghes_999]


ISSUERS = ("https://a.example", "https://b.example", "https://c.example/path")
CLAIMS = ("repository_id", "owner_id", "environment", "oidc_extra.repository", "any")
some_issuer = st.sampled_from(ISSUERS)
some_rules = st.lists(
    st.one_of(
        st.builds(Anybody, some_issuer),
        st.builds(ClaimRule, st.sampled_from(CLAIMS).map(canonical), st.sampled_from("123"), some_issuer),
    ),
    max_size=6,
)
some_claims = st.dictionaries(
    st.sampled_from(sorted({*CLAIMS, "repository_owner_id", "repository"})),
    st.one_of(st.sampled_from("123"), st.integers(0, 4), st.booleans(), st.none(), st.lists(st.integers(0, 3))),
)


@given(some_rules, some_issuer, some_claims)
def test_issuer_without_rule_admits_no_job(configured, issuer, claims):
    others = [rule for rule in configured if rule.issuer != issuer]
    assert not is_admitted(others, issuer, claims, ISSUERS)


@given(some_rules, some_issuer, some_claims)
def test_admitted_job_satisfies_each_named_claim(configured, issuer, claims):
    own = [rule for rule in configured if rule.issuer == issuer]
    named: dict[str, set[str]] = {}
    for rule in own:
        if isinstance(rule, ClaimRule):
            named.setdefault(rule.claim, set()).add(rule.value)
    try:
        admitted = is_admitted(configured, issuer, claims, ISSUERS)
        fits = all(values & set(values_of(claims, claim)) for claim, values in named.items())
    except Unauthenticated:
        return
    assert admitted == (fits if named else bool(own))


@given(some_rules, some_issuer, some_claims)
def test_proposal_admits_job_and_excludes_nobody(configured, issuer, claims):
    claims = {"repository_id": "9"} | claims
    try:
        check_rules(configured, ISSUERS)
        check_claims(configured, issuer, claims, ISSUERS)
    except NotAdmitted as refusal:
        proposed = refusal.job.to_admit
    except (ValueError, Unauthenticated):
        return
    else:
        return
    assume(proposed)
    for text in proposed:
        more = [*configured, *rules(text)]
        check_rules(more, ISSUERS)
        assert is_admitted(more, issuer, claims, ISSUERS)
        for other in ISSUERS:
            for number in "123":
                guest = {"repository_id": number, "owner_id": number, "environment": number, "repository": number}
                assert is_admitted(more, other, guest, ISSUERS) >= is_admitted(configured, other, guest, ISSUERS)


# ---------------------------------------------------------------- meaning of a rule


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("any", Anybody()),
        (f"any@{GHES}/", Anybody(GHES)),
        ("any=5", ClaimRule("any", "5")),
        ("repository_id=42", ClaimRule("repository_id", "42")),
        ("oidc_extra.repository_id=42", ClaimRule("repository_id", "42")),
        (f"owner_id=7@{GHES}", ClaimRule("repository_owner_id", "7", GHES)),
        ("owner_id=MDQ6VXNlcjE=", ClaimRule("repository_owner_id", "MDQ6VXNlcjE=")),
        ("oidc_extra.owner=octo", ClaimRule("repository_owner", "octo")),
        ("workflow_ref=o/r/w.yml@refs/heads/main", ClaimRule("workflow_ref", "o/r/w.yml@refs/heads/main")),
    ],
)
def test_rule_spellings_share_one_name(text, rule):
    assert parse_rule(text) == rule
    assert parse_rule(str(rule)) == rule


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *((text, "isn't claim=value") for text in ("owner_id", "=7", "owner_id=", "owner id=7", "owner_id=@https://x")),
        *((text, "isn't claim=value") for text in ("", "Any", "ANY", "anybody", "any@", "any@ghes.example", "*")),
        ("repository_id=42@ghes.example", "an issuer is a URL"),
        ("owner=octo@ghes.example", "an issuer is a URL"),
    ],
)
def test_malformed_rule_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_rule(text)


@pytest.mark.parametrize(
    ("text", "issuers", "message"),
    [
        (f"repository_id=42@{GHES}", (GITHUB,), "isn't in TOKEN_ISSUERS"),
        (f"any@{GHES}", (GITHUB,), "isn't in TOKEN_ISSUERS"),
        ("any,repository_id=42", (GITHUB,), f"anybody of {GITHUB}, and has repository_id=42 for it too"),
        (f"any@{GITHUB},repository_id=42@{GITHUB}", BOTH, "contradicts itself"),
        (f"any,repository_id=42@{GHES}", BOTH, f"anybody of {GHES}"),
        (f"any@{GHES},environment=prod", BOTH, "contradicts itself"),
        *((f"{claim}=42", BOTH, "Say whose it is") for spellings in SPELLINGS.values() for claim in spellings),
        ("actor_id=42", BOTH, f"as in actor_id=42@{GITHUB}"),
    ],
)
def test_contradictory_rules_are_refused(text, issuers, message):
    with pytest.raises(ValueError, match=message):
        check_rules(rules(text), issuers)


@pytest.mark.parametrize(
    "text", ["", "any", "environment=prod", f"any@{GITHUB},repository_id=42@{GHES}", f"any@{GITHUB},ref=x@{GHES}"]
)
def test_unambiguous_rules_are_accepted(text):
    check_rules(rules(text), BOTH)
    check_rules(rules("repository_id=42"), (GITHUB,))


# ---------------------------------------------------------------- spellings

BY_SPELLING = [
    (in_rule, in_token) for spellings in SPELLINGS.values() for in_rule, in_token in product(spellings, repeat=2)
]


def spelt(claim: str, value: str) -> dict[str, Any]:
    outer, dot, inner = claim.partition(".")
    return {outer: f'{{"{inner}":"{value}"}}'} if dot else {claim: value}


@pytest.mark.parametrize(("in_rule", "in_token"), BY_SPELLING)
def test_rule_matches_any_claim_spelling(in_rule, in_token):
    [rule] = rules(f"{in_rule}=42")
    assert is_admitted([rule], GITHUB, spelt(in_token, "42"), (GITHUB,))
    assert not is_admitted([rule], GITHUB, spelt(in_token, "43"), (GITHUB,))


@pytest.mark.parametrize("claim", SPELLINGS)
def test_token_with_differing_spellings_is_refused(claim):
    one, *_, other = SPELLINGS[claim]
    with pytest.raises(Unauthenticated, match=f"contradicts itself: it says '42' and '43' for {claim}"):
        check_claims(rules(f"{claim}=42"), GITHUB, spelt(one, "42") | spelt(other, "43"))
    # An owner has a number and a node id, which contradict neither each other nor a rule for either.
    both = {"repository_owner_id": "7", "owner_id": "O_kgDOAbCdEf"}
    for value in both.values():
        check_claims(rules(f"repository_owner_id={value}"), GITHUB, both)
    with pytest.raises(Unauthenticated):
        check_claims(rules("owner_id=O_x"), GITHUB, both | {"oidc_extra": '{"owner_id":"O_y"}'})


@pytest.mark.parametrize("value", [True, False, None, 7.0, [7], {"a": 7}, ""], ids=repr)
def test_claim_of_other_type_matches_nothing(value):
    for text in ("7", "True", "true", "None", "7.0", "[7]"):
        assert not is_admitted(rules(f"environment={text}"), GITHUB, {"environment": value})


# ---------------------------------------------------------------- messages to refused jobs


def refused(text: str, claims: dict[str, Any], issuers: tuple[str, ...] = (GITHUB,)) -> NotAdmitted:
    with pytest.raises(NotAdmitted) as refusal:
        check_claims(rules(text), GITHUB, claims, issuers)
    return refusal.value


def test_refusal_names_job_reason_and_setting():
    refusal = refused("repository_owner_id=8", OF_42 | {"repository": "octo/app"})
    assert str(refusal) == (
        "cache read denied: this cache isn't for jobs of octo/app: the token says '7' for repository_owner_id, which "
        "its TOKEN_CLAIMS doesn't allow. Ask its operator to add repository_owner_id=7 to TOKEN_CLAIMS"
    )
    assert str(refusal.of_a_write).startswith("cache write denied: this cache isn't for jobs of octo/app: ")


HOSTILE = ("b,c", "b c", "$(id)", "b;c", "\u202e")


@pytest.mark.parametrize(
    ("text", "claims", "issuers", "to_admit"),
    [
        ("", OF_42, (GITHUB,), ("repository_id=42", "repository_owner_id=7")),
        ("", OF_42, BOTH, (f"repository_id=42@{GITHUB}", f"repository_owner_id=7@{GITHUB}")),
        ("", {"repository_id": "42", "owner_id": "O_x"}, (GITHUB,), ("repository_id=42", "repository_owner_id=O_x")),
        ("", {"repository_id": "42"}, (GITHUB,), ("repository_id=42",)),
        ("repository_id=1", OF_42, (GITHUB,), ("repository_id=42",)),
        ("owner_id=8,repository_id=1", OF_42, (GITHUB,), ("repository_owner_id=7,repository_id=42",)),
        ("owner_id=8,environment=prod", OF_42, (GITHUB,), ("repository_owner_id=7",)),
        ("environment=test", OF_42, (GITHUB,), ("environment=prod",)),
        ("ref=x", OF_42, (GITHUB,), ()),
        *(("a=x", {"repository_id": "42", "a": bad}, (GITHUB,), ()) for bad in HOSTILE),
    ],
)
def test_proposal_covers_only_missing_claims(text, claims, issuers, to_admit):
    """A rule for a claim without rules would shut out jobs that the others admit."""
    assert refused(text, claims, issuers).job.to_admit == to_admit


def test_invalid_names_are_not_repeated():
    hostile = {"repository": "<img src=x>", "repository_owner": "\x1b[2J", "owner_id": "a b"}
    job = refused("repository_id=1", {"repository_id": "42"} | hostile).job
    assert job == RefusedJob(GITHUB, "42", None, None, None, ("repository_id=42",))
    assert job.called == "repository 42"
    contradictory = refused("repository_id=1", OF_42 | {"owner_id": "8"}).job
    assert (contradictory.owner_id, contradictory.to_admit) == (None, ("repository_id=42",))


def test_scopes_follow_token_order_and_permissions():
    caller = Caller("1", (Scope("pr", 1), Scope("main", 3), Scope("secret", 0), Scope("other", 2)))
    assert caller.writable_scope() == "main"
    assert caller.readable_scopes() == ("pr", "main")
    with pytest.raises(PermissionDenied, match=r"^cache write denied: "):
        Caller("1", (Scope("pr", 1),)).writable_scope()
    with pytest.raises(PermissionDenied, match=r"^cache read denied: "):
        Caller("1", (Scope("pr", 2),)).readable_scopes()
