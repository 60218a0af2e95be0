"""What limits who comes in, and what pauses the cleanup: off by default, and whole where it is on."""

import json
import re

import pytest

from dev.local.template import ROOT, Template
from tests.unit.template.declared import api_events
from tests.unit.template.test_edge import statement

RUNNERS = "203.0.113.0/24,2001:db8::/32"


def takes(template: Template, parameter: str, value: str) -> bool:
    return re.fullmatch(template.body["Parameters"][parameter]["AllowedPattern"], value) is not None


# ------------------------------------------------------------------ addresses


def test_presigned_urls_are_good_from_anywhere_by_default(template: Template) -> None:
    refused = template.resolve(statement(template, "OnlyRunnersRestore"))
    assert refused["Condition"]["NotIpAddress"]["aws:SourceIp"] == ["0.0.0.0/0", "::/0"], "so nobody is refused"


def test_with_runners_addresses_presigned_urls_alone_are_refused_from_elsewhere(template: Template) -> None:
    """The functions sign by a header, and the edge by CloudFront; a VPC's endpoint names no address that S3 knows."""
    found = statement(template, "OnlyRunnersRestore")
    assert (found["Effect"], found["Principal"], found["Action"]) == ("Deny", "*", "s3:GetObject")
    addresses = found["Condition"]["NotIpAddress"]["aws:SourceIp"]["Fn::If"]
    assert addresses[:2] == ["HasRunnerAddresses", {"Fn::Split": [",", {"Ref": "RunnerAddresses"}]}]
    assert found["Condition"]["StringEquals"] == {"s3:authType": "REST-QUERY-STRING"}
    assert found["Condition"]["Null"] == {"aws:SourceVpce": "true"}
    assert template.with_parameters(RunnerAddresses=RUNNERS).condition("HasRunnerAddresses")


@pytest.mark.parametrize(
    ("value", "is_taken"),
    [
        ("", True),
        (RUNNERS, True),
        ("203.0.113.7", False),
        ("203.0.113.0/24, 198.51.100.0/24", False),
        ("example.com", False),
    ],
)
def test_addresses_are_ranges_separated_by_commas(template: Template, value: str, is_taken: bool) -> None:
    assert takes(template, "RunnerAddresses", value) is is_taken


@pytest.mark.parametrize(
    ("value", "is_taken"),
    [
        ("", True),
        ("arn:aws:wafv2:us-east-1:123456789012:global/webacl/a/0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f", True),
        ("arn:aws:wafv2:eu-central-1:123456789012:regional/webacl/a/0a1b2c3d", False),
    ],
)
def test_a_web_acl_is_a_global_one(template: Template, value: str, is_taken: bool) -> None:
    """CloudFront takes no other, and says so only in the middle of the deploy."""
    assert takes(template, "WebAclArn", value) is is_taken


def test_the_web_acl_that_comes_with_it_lets_in_runners_and_nobody_else() -> None:
    acl = Template.load(ROOT / "deploy" / "web-acl.yaml")
    assert acl.properties("WebAcl")["Scope"] == "CLOUDFRONT"
    assert acl.properties("WebAcl")["DefaultAction"] == {"Block": {}}
    _, first, second = acl.properties("WebAcl")["Rules"]
    assert first["Statement"] == {"IPSetReferenceStatement": {"Arn": {"Fn::GetAtt": ["Runners", "Arn"]}}}
    assert second["Fn::If"][0] == "HasV6"
    assert "WebAclArn" in acl.body["Outputs"]


def test_the_web_acl_blocks_a_flood_before_it_lets_anybody_in() -> None:
    acl = Template.load(ROOT / "deploy" / "web-acl.yaml")
    floods, *letting_in = [
        acl.with_parameters(RunnerAddressesV6="").resolve(it) for it in acl.properties("WebAcl")["Rules"]
    ]
    assert floods["Action"] == {"Block": {}}
    limited = floods["Statement"]["RateBasedStatement"]
    assert (limited["AggregateKeyType"], limited["Limit"]) == ("IP", 300_000)
    assert "ScopeDownStatement" not in limited, "for every address"
    assert all(floods["Priority"] < it["Priority"] for it in letting_in if it != "AWS::NoValue")


# ------------------------------------------------------------------ requests

JOBS_SEND = {
    ("POST", "/twirp/{service}/{method}"),
    ("PUT", "/blobs/upload/{archive}"),
    ("GET", "/blobs/download/{archive}"),
    ("HEAD", "/blobs/download/{archive}"),
    # It has Get Block List, v1's lookups and saves, and whatever is passed on.
    ("GET", "/{path+}"),
    ("POST", "/{path+}"),
    ("PATCH", "/{path+}"),
}


def throttles(template: Template) -> dict[tuple[str, str], tuple[int, int]]:
    """Return rate and burst, by method and path as events name them."""
    settings = template.properties("Api")["MethodSettings"]
    return {
        (it["HttpMethod"], it["ResourcePath"].removeprefix("/").replace("~1", "/")): (
            template.number(it["ThrottlingRateLimit"]),
            template.number(it["ThrottlingBurstLimit"]),
        )
        for it in settings
    }


def test_a_throttle_names_methods_that_the_api_has(template: Template) -> None:
    """API Gateway refuses any other, in the middle of the deploy."""
    declared = {event for function in template.functions for event in api_events(template, function)}
    assert throttles(template).keys() - {("*", "*")} == JOBS_SEND <= declared


def test_jobs_requests_have_the_parameters_throttle_others_a_low_one(template: Template) -> None:
    chosen = throttles(template.with_parameters(RequestsPerSecond="123"))
    others, _ = chosen.pop(("*", "*"))
    assert {rate for rate, _ in chosen.values()} == {123}
    assert others == 50


def test_ten_thousand_jobs_in_a_minute_meet_no_throttle(template: Template) -> None:
    """Each job looks up, creates and finalizes, all by one method, which other jobs' artifacts use too."""
    rate, burst = throttles(template)["POST", "/twirp/{service}/{method}"]
    assert rate * 60 + burst > 10_000 * 6


@pytest.mark.parametrize("value", [0, -1])
def test_no_throttle_can_be_turned_off(template: Template, value: int) -> None:
    """0 would refuse everybody."""
    assert template.body["Parameters"]["RequestsPerSecond"]["MinValue"] > value


def test_what_api_gateway_throttles_is_told_when_to_come_again(template: Template) -> None:
    throttled = template.properties("Api")["GatewayResponses"]["THROTTLED"]
    said = json.loads(throttled["ResponseTemplates"]["application/json"])
    assert (throttled["StatusCode"], said["code"]) == (429, "resource_exhausted")
    assert throttled["ResponseParameters"]["Headers"]["Retry-After"] == "'1'", "quoted: a text, and no mapping"


# ------------------------------------------------------------------ bytes out


@pytest.mark.parametrize(("gigabytes", "has_metrics"), [("150", True), ("0", False)])
def test_the_bucket_has_metrics_only_where_an_alarm_needs_them(
    template: Template, gigabytes: str, has_metrics: bool
) -> None:
    chosen = template.with_parameters(DownloadAlarmGigabytes=gigabytes)
    bucket, alarm = (chosen.resolve(chosen.properties(it)) for it in ("Bucket", "DownloadsAlarm"))
    wanted = [{"Name": "BucketName", "Value": "Bucket"}, {"Name": "FilterId", "Value": "all"}]
    assert alarm["Dimensions"] == wanted
    assert bucket.get("MetricsConfigurations") == ([{"Id": "all"}] if has_metrics else None)
    assert alarm["Threshold"] == {"Fn::Sub": "${DownloadAlarmGigabytes}000000000"}, "bytes, where the parameter has GB"


# ---------------------------------------------------------------- clients that seek


@pytest.mark.parametrize(
    ("seek_through", "acl", "is_refused"), [("edge", "arn", False), ("api", "", False), ("api", "arn", True)]
)
def test_seeking_past_the_edge_needs_an_api_that_answers_there(
    template: Template, seek_through: str, acl: str, is_refused: bool
) -> None:
    """The API answers only requests through the edge where there is a web ACL."""
    chosen = template.with_parameters(SeekThrough=seek_through, WebAclArn=acl)
    rule = chosen.body["Rules"]["SeekingNeedsAnOpenApi"]
    [assertion] = rule["Assertions"]
    assert (chosen._holds(rule["RuleCondition"]) and not chosen._holds(assertion["Assert"])) is is_refused
    assert "WebAclArn" in assertion["AssertDescription"]


# ------------------------------------------------------------------ cleanup


@pytest.mark.parametrize(("paused", "state"), [("false", "ENABLED"), ("true", "DISABLED")])
def test_a_pause_stops_all_that_deletes_and_nothing_else(template: Template, paused: str, state: str) -> None:
    chosen = template.with_parameters(CleanupPaused=paused)
    states = {
        (function, name): chosen.resolve(event["Properties"].get("State", "ENABLED"))
        for function, properties in chosen.functions.items()
        for name, event in properties["Events"].items()
        if event["Type"] == "ScheduleV2"
    }
    cleanup = {it for it in states if it[0] == "CleanupFunction"}
    assert {states[it] for it in cleanup} == {state}
    assert len(cleanup) > 1
    assert {states[it] for it in set(states) - cleanup} == {"ENABLED"}


# ------------------------------------------------------------------ authorities


def test_certificates_go_to_the_one_function_that_asks_issuers(template: Template) -> None:
    told = {it for it in template.functions if "EXTRA_CA_CERTIFICATES" in template.environment(it)}
    assert told == {"ApiFunction"}
    value = template.environment("ApiFunction")["EXTRA_CA_CERTIFICATES"]["Fn::If"]
    assert value == ["HasExtraCa", {"Fn::Sub": "{{resolve:ssm:${ExtraCaParameter}}}"}, ""]
