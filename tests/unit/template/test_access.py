"""Values that the access parameters accept start the functions too."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from actions_cache.domain.access import parse_rule
from actions_cache.settings import Settings
from dev.local.template import Template
from tests.unit.template.declared import accepts
from tests.unit.test_settings import REQUIRED


@pytest.mark.parametrize(
    "value", ["", "https://results.example", "https://results.example/", "https://results.example:8443"]
)
def test_deployable_results_service_starts(template: Template, value: str) -> None:
    assert accepts(template, "ResultsServiceUrl", value)
    Settings(**REQUIRED, results_service_url=value or None)


@pytest.mark.parametrize("value", ["http://plain.example", "https://a/b", "https://a?b", "https://u@a", "results", "*"])
def test_results_service_must_be_an_https_origin(template: Template, value: str) -> None:
    assert not accepts(template, "ResultsServiceUrl", value)


def test_other_requests_go_to_github_by_default(template: Template) -> None:
    """upload-artifact asks the same host; the API passes it on (docs/design/protocol.md#results-service)."""
    default = template.body["Parameters"]["ResultsServiceUrl"]["Default"]
    assert default == "https://results-receiver.actions.githubusercontent.com"
    passing = {function for function in template.functions if "RESULTS_SERVICE_URL" in template.environment(function)}
    assert passing == {"ApiFunction"}


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
def test_deployable_claims_start(template: Template, value: str) -> None:
    assert accepts(template, "TokenClaims", value)
    Settings.model_validate(REQUIRED | {"token_claims": value})


def test_token_claims_has_no_default(template: Template) -> None:
    assert "Default" not in template.body["Parameters"]["TokenClaims"]


PIECES = st.sampled_from(
    ["any", "@", "@https://", "x.example", "=", "a", "/", "é", "*", "?", ":8080", "refs/heads/main"]
)
RULES = st.builds("{}{}".format, st.sampled_from(["any", "environment=", "any=", "="]), st.lists(PIECES).map("".join))


@given(st.lists(RULES, min_size=1, max_size=3))
def test_deployable_claims_can_be_parsed(template: Template, rules: list[str]) -> None:
    """Functions that can't parse them answer nobody, minutes into a deploy."""
    assume(accepts(template, "TokenClaims", ",".join(rules)))
    assert all(map(parse_rule, rules))


@pytest.mark.parametrize(
    ("value", "is_accepted"),
    [
        ("https://token.actions.githubusercontent.com,https://ghes.example:8443/_services/token", True),
        ("https://é.example", False),
        ("https://a.example, https://b.example", False),
        ("https://a.example,", False),
        ("https://a.example,http://b.example", False),
    ],
)
def test_deployable_issuers_start(template: Template, value: str, is_accepted: bool) -> None:
    assert accepts(template, "TokenIssuers", value) == is_accepted
    if is_accepted:
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


@pytest.mark.parametrize(("value", "is_accepted"), PUBLIC_URLS.items())
def test_deployable_public_url_starts(template: Template, value: str, is_accepted: bool) -> None:
    assert accepts(template, "PublicUrl", value) == is_accepted
    if is_accepted:
        Settings.model_validate(REQUIRED | {"public_url": value or None})


MALFORMED = [
    *("", "*", "owner_id", "owner_id=", "ref=@https://a.example", "=1"),
    *("owner_id=1,", "owner_id=1, owner_id=2", "Any", "anyone", "any@a"),
]


@pytest.mark.parametrize("value", MALFORMED)
def test_malformed_claims_are_not_deployable(template: Template, value: str) -> None:
    assert not accepts(template, "TokenClaims", value)
