"""Tests which answers each question of a deploy accepts, and what it says to the others."""

import re
from collections.abc import Callable

import pytest

from actions_cache.cost import GIGABYTE, PRICES
from actions_cache_cli.deploy import questions
from actions_cache_cli.deploy.questions import (
    Question,
    Wrong,
    budget_bytes,
    budget_hint,
    read_alarms,
    read_budget,
    read_certificate,
    read_domain,
    read_id,
    read_region,
    read_stack,
    read_whose,
    storage_usd,
    subjects,
)

REGIONS = frozenset({"us-east-1", "us-west-2", "eu-central-1"})
CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/0a1b"
TOPIC = "arn:aws:sns:eu-central-1:123456789012:pager"

ALL: list[Question] = [
    questions.question_of_region("us-east-1", REGIONS),
    questions.question_of_stack("actions-cache", "us-east-1"),
    questions.question_of_whose(),
    questions.question_of_budget(),
    questions.question_of_domain(),
    questions.question_of_alarms("us-east-1"),
]


@pytest.mark.parametrize("question", ALL, ids=lambda item: item.name)
def test_question_shows_example_and_cost(question: Question) -> None:
    assert "xample" in question.says
    assert re.search(r"\$\d|free|costs? nothing|at your cost", question.says)
    assert all(len(line) <= 116 for line in question.says.split("\n"))
    if question.default is None:
        assert question.name == "whose_jobs", "the one thing that nobody else can know"
    else:
        assert question.read(question.default) == question.default


READERS: dict[str, Callable[[str], str]] = {
    "region": lambda typed: read_region(typed, REGIONS),
    "stack": lambda typed: read_stack(typed, "us-east-1"),
    "whose": read_whose,
    "id": read_id,
    "budget": read_budget,
    "domain": read_domain,
    "certificate": read_certificate,
    "alarms": lambda typed: read_alarms(typed, "eu-central-1"),
    "alarms in us-east-1": lambda typed: read_alarms(typed, "us-east-1"),
}
LONGEST = "a" * (64 - len("-us-east-1-response"))
"""The longest name of a stack that fits CloudFront's limit."""
TAKEN: dict[str, list[tuple[str, ...]]] = {
    "region": [("eu-central-1", "eu-central-1", " EU-CENTRAL-1 ")],
    "stack": [(LONGEST, LONGEST)],
    "id": [("9919", " 9919 ")],
    "domain": [("cache.example.com", "https://Cache.Example.com/", " cache.example.com. ")],
    "certificate": [(CERTIFICATE, f" {CERTIFICATE} ")],
    "alarms": [(taken, f" {taken} ") for taken in ("none", "ops@example.com", TOPIC)],
}
"""By question: each answer, and ways to type it."""
REFUSED: dict[str, dict[str, list[str]]] = {
    "region": {r'"eu-central-9".*near it: eu-central-1$': ["eu-central-9"]},
    "stack": {
        "has 46 characters, and 45 is the most in us-east-1": [f"{LONGEST}a"],
        "letters, digits and hyphens": ["", "1cache", "my cache", "cache_1", "a.b", "-a", "a\nb"],
    },
    "whose": {
        "has no default": [""],
        "lower case": ["ANY"],
        "only owners, or only repositories": ["octo-org,octo-org/widgets"],
        "is neither an owner": [
            "octo org",
            "octo-org/a/b",
            "-org",
            "a" * 40,
            "repository_id=",
            "o;rm",
            "any,octo-org=",
        ],
    },
    "id": {"isn't an id": ["", "x", "-1", "1.5", "0", "012", "\uff19", "1 2"]},
    # 0 means no limit to the server: nobody shall get there by a typing error.
    "budget": {".": ["", "0", "-1", "1000001", "much", "nan", "inf", "1e400"]},
    "domain": {"isn't a domain name": ["", "cache", "a b.c", "*.example.com", "x.y/z", f"{'a' * 64}.com"]},
    "certificate": {
        "in us-east-1, where CloudFront looks": ["", "certificate", CERTIFICATE.replace("us-east-1", "eu-central-1")],
    },
    "alarms": {
        "is neither an e-mail address nor the ARN": ["", "o", "o@example", "a b@c.de", "arn:aws:sqs:eu-central-1:1:q"],
    },
    "alarms in us-east-1": {"CloudWatch notifies only topics of its own region, us-east-1": [TOPIC]},
}
"""By question and what is said: wrong answers."""


@pytest.mark.parametrize("question", TAKEN)
def test_answer_is_normalized(question: str) -> None:
    for taken, *typed in TAKEN[question]:
        assert [READERS[question](text) for text in (taken, *typed)] == [taken] * (1 + len(typed))


@pytest.mark.parametrize("question", REFUSED)
def test_wrong_answer_is_explained(question: str) -> None:
    for said, wrong in REFUSED[question].items():
        for typed in wrong:
            with pytest.raises(Wrong, match=said):
                READERS[question](typed)


@pytest.mark.parametrize(
    ("typed", "claims"),
    [
        ("octo-org", ["repository_owner_id"]),
        ("octo-org/widgets", ["repository_id"]),
        ("https://github.com/octo-org/widgets", ["repository_id"]),
        ("octo-org, other_org", ["repository_owner_id", "repository_owner_id"]),
        ("octo-org/a,octo-org/b.c", ["repository_id", "repository_id"]),
        ("any", []),
        ("repository_owner_id=9919", []),
        ("repository_id=1,repository_id=2", []),
        ("owner_id=O_kg,runner_type=self-hosted", []),
        ("repository_id=5@https://ghes.example/_services/token", []),
        ("any@https://ghes.example", []),
    ],
)
def test_only_names_are_looked_up(typed: str, claims: list[str]) -> None:
    assert [subject.claim for subject in subjects(read_whose(typed))] == claims


@pytest.mark.parametrize(
    ("typed", "taken", "size"),
    [
        ("100", "100", 100 * 1024**3),
        ("100 GiB", "100", 100 * 1024**3),
        ("0.5", "0.5", 1024**3 // 2),
        ("1000000", "1000000", 10**6 * 1024**3),
        ("NONE", "none", 0),
        ("0.0000000001", "0.0000000001", 1),
    ],
)
def test_budget_is_gib_or_none(typed: str, taken: str, size: int) -> None:
    assert read_budget(typed) == taken
    assert budget_bytes(taken) == size


def test_budget_is_priced_by_the_table() -> None:
    assert storage_usd("100") == pytest.approx(100 * 1024**3 / GIGABYTE * PRICES["S3 storage"].usd)
    assert budget_hint("100") == "($2.47 a month when full)"
    assert budget_hint("none") == "(no limit, so none for the bill)"
    assert budget_hint("1x") == budget_hint("") == ""
    hint = questions.question_of_budget().hint
    assert hint is not None
    assert hint("") == hint("100"), "what Enter would take"
