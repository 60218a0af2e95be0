"""Tests which answers each question of a deploy accepts, and what it says to the others."""

import re

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
from dev.local.template import Template

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


def test_there_are_six_questions() -> None:
    assert len({question.name for question in ALL}) == len(ALL) == 6


@pytest.mark.parametrize("question", ALL, ids=lambda item: item.name)
def test_question_shows_example_and_cost(question: Question) -> None:
    assert "xample" in question.says
    assert re.search(r"\$\d|free|costs? nothing|at your cost", question.says)
    assert all(len(line) <= 116 for line in question.says.split("\n"))


@pytest.mark.parametrize("question", ALL, ids=lambda item: item.name)
def test_default_is_a_valid_answer(question: Question) -> None:
    if question.default is None:
        assert question.name == "whose_jobs", "the one thing that nobody else can know"
    else:
        assert question.read(question.default) == question.default


@pytest.mark.parametrize(("typed", "taken"), [("eu-central-1", "eu-central-1"), (" US-EAST-1 ", "us-east-1")])
def test_region_must_exist(typed: str, taken: str) -> None:
    assert read_region(typed, REGIONS) == taken


def test_unknown_region_shows_near_ones() -> None:
    with pytest.raises(Wrong, match=r'"eu-central-9".*near it: eu-central-1$'):
        read_region("eu-central-9", REGIONS)


def test_stack_name_fits_cloudfronts_limit() -> None:
    longest = "a" * (64 - len("-us-east-1-response"))
    assert read_stack(longest, "us-east-1") == longest
    with pytest.raises(Wrong, match="has 46 characters, and 45 is the most in us-east-1"):
        read_stack(f"{longest}a", "us-east-1")


@pytest.mark.parametrize("typed", ["", "1cache", "my cache", "cache_1", "a.b", "-a", "a\nb"])
def test_invalid_stack_name_is_refused(typed: str) -> None:
    with pytest.raises(Wrong, match="letters, digits and hyphens"):
        read_stack(typed, "us-east-1")


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
    ("typed", "said"),
    [
        ("", "has no default"),
        ("ANY", "lower case"),
        ("octo org", "is neither an owner"),
        ("octo-org/a/b", "is neither an owner"),
        ("-org", "is neither an owner"),
        ("a" * 40, "is neither an owner"),
        ("octo-org,octo-org/widgets", "only owners, or only repositories"),
        ("repository_id=", "is neither an owner"),
        ("octo-org;rm", "is neither an owner"),
        ("any,octo-org=", "is neither an owner"),
    ],
)
def test_whose_jobs_has_no_default(typed: str, said: str) -> None:
    with pytest.raises(Wrong, match=said):
        read_whose(typed)


@pytest.mark.parametrize("claims", ["repository_owner_id=9919", "repository_id=42,repository_id=43"])
def test_claims_match_the_templates_pattern(template: Template, claims: str) -> None:
    assert re.fullmatch(template.body["Parameters"]["TokenClaims"]["AllowedPattern"], claims)


@pytest.mark.parametrize("typed", ["", "x", "-1", "1.5", "0", "012", "\uff19", "1 2"])
def test_id_must_be_a_number(typed: str) -> None:
    assert read_id(" 9919 ") == "9919"
    with pytest.raises(Wrong, match="isn't an id"):
        read_id(typed)


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


@pytest.mark.parametrize("typed", ["", "0", "-1", "1000001", "much", "nan", "inf", "1e400"])
def test_budget_has_bounds(typed: str) -> None:
    """0 means no limit to the server: nobody shall get there by a typing error."""
    with pytest.raises(Wrong):
        read_budget(typed)


def test_budget_is_priced_by_the_table() -> None:
    assert storage_usd("100") == pytest.approx(100 * 1024**3 / GIGABYTE * PRICES["S3 storage"].usd)
    assert budget_hint("100") == "($2.47 a month when full)"
    assert budget_hint("none") == "(no limit, so none for the bill)"
    assert budget_hint("1x") == budget_hint("") == ""
    hint = questions.question_of_budget().hint
    assert hint is not None
    assert hint("") == hint("100"), "what Enter would take"


@pytest.mark.parametrize("typed", ["cache.example.com", "https://Cache.Example.com/", " cache.example.com. "])
def test_domain_is_normalized(typed: str) -> None:
    assert read_domain(typed) == "cache.example.com"


@pytest.mark.parametrize("typed", ["", "cache", "a b.c", "*.example.com", "x.y/z", f"{'a' * 64}.com"])
def test_invalid_domain_is_refused(typed: str) -> None:
    with pytest.raises(Wrong, match="isn't a domain name"):
        read_domain(typed)


def test_certificate_must_be_in_us_east_1() -> None:
    assert read_certificate(f" {CERTIFICATE} ") == CERTIFICATE
    for arn in ("", "certificate", CERTIFICATE.replace("us-east-1", "eu-central-1")):
        with pytest.raises(Wrong, match="in us-east-1, where CloudFront looks"):
            read_certificate(arn)


@pytest.mark.parametrize("typed", ["none", "ops@example.com", TOPIC])
def test_alarms_go_to_mail_a_topic_or_nowhere(typed: str) -> None:
    assert read_alarms(f" {typed} ", "eu-central-1") == typed


@pytest.mark.parametrize("typed", ["", "ops", "ops@example", "a b@example.com", "arn:aws:sqs:eu-central-1:1:q"])
def test_invalid_alarm_target_is_refused(typed: str) -> None:
    with pytest.raises(Wrong, match="is neither an e-mail address nor the ARN"):
        read_alarms(typed, "eu-central-1")


def test_topic_of_another_region_is_refused() -> None:
    with pytest.raises(Wrong, match="CloudWatch notifies only topics of its own region, us-east-1"):
        read_alarms(TOPIC, "us-east-1")
