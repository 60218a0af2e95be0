"""Values that the access parameters accept start the functions too."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from actions_cache.domain.access import parse_rule
from actions_cache.settings import Settings
from dev.local.template import Template
from tests.unit.template.declared import accepts
from tests.unit.test_settings import REQUIRED


def test_other_requests_go_to_github_by_default(template: Template) -> None:
    """upload-artifact asks the same host; the API passes it on (docs/design/protocol.md#results-service)."""
    default = template.body["Parameters"]["ResultsServiceUrl"]["Default"]
    assert default == "https://results-receiver.actions.githubusercontent.com"
    passing = {function for function in template.functions if "RESULTS_SERVICE_URL" in template.environment(function)}
    assert passing == {"ApiFunction"}
    assert "Default" not in template.body["Parameters"]["TokenClaims"], "whose jobs come in, nobody else can know"


PIECES = st.sampled_from(
    ["any", "@", "@https://", "x.example", "=", "a", "/", "é", "*", "?", ":8080", "refs/heads/main"]
)
RULES = st.builds("{}{}".format, st.sampled_from(["any", "environment=", "any=", "="]), st.lists(PIECES).map("".join))


@given(st.lists(RULES, min_size=1, max_size=3))
def test_deployable_claims_can_be_parsed(template: Template, rules: list[str]) -> None:
    """Functions that can't parse them answer nobody, minutes into a deploy."""
    assume(accepts(template, "TokenClaims", ",".join(rules)))
    assert all(map(parse_rule, rules))


SETTINGS = {
    "ResultsServiceUrl": "results_service_url",
    "TokenClaims": "token_claims",
    "TokenIssuers": "token_issuers",
    "PublicUrl": "public_url",
}
ISSUER = "https://token.actions.githubusercontent.com"
RUNNERS = "203.0.113.0/24,2001:db8::/32"
ACL = "arn:aws:wafv2:{}:123456789012:{}/webacl/a/0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"
ACCEPTED = {
    "ResultsServiceUrl": ["", "https://results.example", "https://results.example/", "https://results.example:8443"],
    "TokenClaims": ["any", f"any@{ISSUER}", "repository_id=1", f"owner_id=1,owner_id=2@{ISSUER}", "any=1"],
    "TokenIssuers": [f"{ISSUER},https://ghes.example:8443/_services/token"],
    "PublicUrl": ["", "https://a.example", "https://a.example:8443/b/c", "https://localhost/~x"],
    "RunnerAddresses": ["", RUNNERS],
    # CloudFront accepts no other web ACL, and says so only in the middle of the deploy.
    "WebAclArn": ["", ACL.format("us-east-1", "global")],
}
REFUSED = {
    "ResultsServiceUrl": ["http://plain.example", "https://a/b", "https://a?b", "https://u@a", "results", "*"],
    "TokenClaims": [
        *("", "*", "owner_id", "owner_id=", "ref=@https://a.example", "=1"),
        *("owner_id=1,", "owner_id=1, owner_id=2", "Any", "anyone", "any@a"),
    ],
    "TokenIssuers": [
        *("https://é.example", "https://a.example, https://b.example"),
        *("https://a.example,", "https://a.example,http://b.example"),
    ],
    "PublicUrl": [
        *("http://a.example", "https://a.example/", "https://a.example/?b", "https://[", "https://:1"),
        *("https://a.example?b", "https://a.example#b", "https://a.example:x", "https://a.example:0"),
    ],
    "RunnerAddresses": ["203.0.113.7", "203.0.113.0/24, 198.51.100.0/24", "example.com"],
    "WebAclArn": [ACL.format("eu-central-1", "regional")],
}


@pytest.mark.parametrize("parameter", ACCEPTED)
def test_deployable_values_start_the_functions(template: Template, parameter: str) -> None:
    for value in ACCEPTED[parameter]:
        assert accepts(template, parameter, value), value
        if parameter in SETTINGS:
            Settings.model_validate(REQUIRED | {SETTINGS[parameter]: value or None})
    assert [value for value in REFUSED[parameter] if accepts(template, parameter, value)] == []
