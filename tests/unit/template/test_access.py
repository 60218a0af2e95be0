"""Whose jobs come in, and where else requests go: what the parameters take, the functions take too."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from actions_cache.domain.access import parse_rule
from actions_cache.settings import Settings
from dev.local.template import Template
from tests.unit.test_settings import REQUIRED


def takes(template: Template, parameter: str, value: str) -> bool:
    """CloudFormation wants the whole value to match."""
    return re.fullmatch(template.body["Parameters"][parameter]["AllowedPattern"], value) is not None


@pytest.mark.parametrize(
    "value", ["", "https://results.example", "https://results.example/", "https://results.example:8443"]
)
def test_a_results_service_that_can_be_deployed_starts(template: Template, value: str) -> None:
    assert takes(template, "ResultsServiceUrl", value)
    Settings(**REQUIRED, results_service_url=value or None)


@pytest.mark.parametrize("value", ["http://plain.example", "https://a/b", "https://a?b", "https://u@a", "results", "*"])
def test_tokens_are_sent_to_an_https_origin_alone(template: Template, value: str) -> None:
    assert not takes(template, "ResultsServiceUrl", value)


def test_what_is_not_the_caches_goes_to_github_when_deployed(template: Template) -> None:
    """upload-artifact asks the same host (docs/design/protocol.md#results-service). The API alone is told."""
    default = template.body["Parameters"]["ResultsServiceUrl"]["Default"]
    assert default == "https://results-receiver.actions.githubusercontent.com"
    told = {function for function in template.functions if "RESULTS_SERVICE_URL" in template.environment(function)}
    assert told == {"ApiFunction"}


@pytest.mark.parametrize(
    "value",
    [
        "any",
        "any@https://token.actions.githubusercontent.com",
        "repository_id=1",
        "owner_id=1,owner_id=2@https://token.actions.githubusercontent.com",
        "any=1",
    ],
)
def test_claims_that_can_be_deployed_start(template: Template, value: str) -> None:
    assert takes(template, "TokenClaims", value)
    Settings.model_validate(REQUIRED | {"token_claims": value})


def test_whose_jobs_come_in_has_no_default(template: Template) -> None:
    assert "Default" not in template.body["Parameters"]["TokenClaims"]


PIECES = st.sampled_from(
    ["any", "@", "@https://", "x.example", "=", "a", "/", "é", "*", "?", ":8080", "refs/heads/main"]
)
RULES = st.builds("{}{}".format, st.sampled_from(["any", "environment=", "any=", "="]), st.lists(PIECES).map("".join))


@given(st.lists(RULES, min_size=1, max_size=3))
def test_claims_that_the_form_takes_can_be_read(template: Template, rules: list[str]) -> None:
    """Functions that can't read them answer nobody, minutes into a deploy."""
    assume(takes(template, "TokenClaims", ",".join(rules)))
    assert all(map(parse_rule, rules))


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        ("https://token.actions.githubusercontent.com,https://ghes.example:8443/_services/token", True),
        ("https://é.example", False),
        ("https://a.example, https://b.example", False),
        ("https://a.example,", False),
        ("https://a.example,http://b.example", False),
    ],
)
def test_issuers_that_the_form_takes_can_be_read(template: Template, value: str, taken: bool) -> None:
    assert takes(template, "TokenIssuers", value) == taken
    if taken:
        Settings.model_validate(REQUIRED | {"token_issuers": value})


PUBLIC_URLS = {
    **dict.fromkeys(["", "https://a.example", "https://a.example:8443/b/c", "https://localhost/~x"], True),
    **dict.fromkeys(
        ["http://a.example", "https://a.example/", "https://a.example/?b", "https://[", "https://:1"], False
    ),
    **dict.fromkeys(
        ["https://a.example?b", "https://a.example#b", "https://a.example:x", "https://a.example:0"], False
    ),
}


@pytest.mark.parametrize(("value", "taken"), PUBLIC_URLS.items())
def test_public_url_that_the_form_takes_starts(template: Template, value: str, taken: bool) -> None:
    assert takes(template, "PublicUrl", value) == taken
    if taken:
        Settings.model_validate(REQUIRED | {"public_url": value or None})


WRONG = [
    *(
        "",
        "*",
        "owner_id",
        "owner_id=",
        "ref=@https://a.example",
        "=1",
        "owner_id=1,",
        "owner_id=1, owner_id=2",
        "Any",
        "anyone",
        "any@a",
    ),
]


@pytest.mark.parametrize("value", WRONG)
def test_claims_that_cannot_be_read_are_not_deployed(template: Template, value: str) -> None:
    assert not takes(template, "TokenClaims", value)
