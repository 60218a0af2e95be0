"""Optional limits and switches are off by default, and complete where they are on."""

import json

import pytest

from dev.local.template import ROOT, Template
from tests.unit.template.declared import api_events, bucket_statement

RUNNERS = "203.0.113.0/24,2001:db8::/32"


def test_runner_addresses_restrict_presigned_urls(template: Template) -> None:
    """Functions and edge sign with a header, and requests through a VPC endpoint have no address that S3 knows."""
    found = bucket_statement(template, "OnlyRunnersRestoreAndSave")
    assert (found["Effect"], found["Principal"]) == ("Deny", "*")
    assert found["Action"] == ["s3:GetObject", "s3:PutObject", "s3:ListMultipartUploadParts"]
    addresses = found["Condition"]["NotIpAddress"]["aws:SourceIp"]["Fn::If"]
    assert addresses[:2] == ["HasRunnerAddresses", {"Fn::Split": [",", {"Ref": "RunnerAddresses"}]}]
    assert found["Condition"]["StringEquals"] == {"s3:authType": "REST-QUERY-STRING"}
    assert found["Condition"]["Null"] == {"aws:SourceVpce": "true"}
    assert template.with_parameters(RunnerAddresses=RUNNERS).condition("HasRunnerAddresses")
    by_default = template.resolve(found)["Condition"]["NotIpAddress"]["aws:SourceIp"]
    assert by_default == ["0.0.0.0/0", "::/0"], "so nobody is refused"


def test_presigned_urls_never_copy(template: Template) -> None:
    """A part that named a source could be another repository's. Merges, which copy, sign with a header."""
    found = bucket_statement(template, "PresignedUrlsNeverCopy")
    assert (found["Effect"], found["Principal"], found["Action"]) == ("Deny", "*", "s3:PutObject")
    presigned, copying = {"s3:authType": "REST-QUERY-STRING"}, {"s3:x-amz-copy-source": "false"}
    assert found["Condition"] == {"StringEquals": presigned, "Null": copying}


def test_supplied_web_acl_blocks_floods_then_strangers() -> None:
    acl = Template.load(ROOT / "deploy" / "web-acl.yaml")
    declared = acl.properties("WebAcl")
    assert (declared["Scope"], declared["DefaultAction"]) == ("CLOUDFRONT", {"Block": {}})
    _, first, second = declared["Rules"]
    assert first["Statement"] == {"IPSetReferenceStatement": {"Arn": {"Fn::GetAtt": ["Runners", "Arn"]}}}
    assert second["Fn::If"][0] == "HasV6"
    assert "WebAclArn" in acl.body["Outputs"]
    floods, *letting_in = [acl.with_parameters(RunnerAddressesV6="").resolve(it) for it in declared["Rules"]]
    assert floods["Action"] == {"Block": {}}
    limited = floods["Statement"]["RateBasedStatement"]
    assert (limited["AggregateKeyType"], limited["Limit"]) == ("IP", 300_000)
    assert "ScopeDownStatement" not in limited, "for every address"
    assert all(floods["Priority"] < it["Priority"] for it in letting_in if it != "AWS::NoValue")


JOBS_SEND = {
    ("POST", "/twirp/{service}/{method}"),
    ("PUT", "/blobs/upload/{archive}"),
    ("GET", "/blobs/download/{archive}"),
    ("HEAD", "/blobs/download/{archive}"),
    # Get Block List, v1's lookups and saves, and what is passed on.
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


def test_throttles_name_declared_methods(template: Template) -> None:
    """API Gateway refuses any other, in the middle of the deploy."""
    declared = {event for function in template.functions for event in api_events(template, function)}
    assert throttles(template).keys() - {("*", "*")} == JOBS_SEND <= declared


def test_requests_per_second_throttles_jobs_only(template: Template) -> None:
    chosen = throttles(template.with_parameters(RequestsPerSecond="123"))
    others, _ = chosen.pop(("*", "*"))
    assert {rate for rate, _ in chosen.values()} == {123}
    assert others == 50
    assert template.body["Parameters"]["RequestsPerSecond"]["MinValue"] > 0, "0 would refuse everybody"
    # Each of ten thousand jobs a minute looks up, creates and finalizes with one method, which artifacts use too.
    rate, burst = throttles(template)["POST", "/twirp/{service}/{method}"]
    assert rate * 60 + burst > 10_000 * 6


def test_throttled_response_says_when_to_retry(template: Template) -> None:
    throttled = template.properties("Api")["GatewayResponses"]["THROTTLED"]
    said = json.loads(throttled["ResponseTemplates"]["application/json"])
    assert (throttled["StatusCode"], said["code"]) == (429, "resource_exhausted")
    assert throttled["ResponseParameters"]["Headers"]["Retry-After"] == "'1'", "quoted: a text, and no mapping"


@pytest.mark.parametrize(("gigabytes", "has_metrics"), [("150", True), ("0", False)])
def test_bucket_metrics_exist_only_for_the_alarm(template: Template, gigabytes: str, has_metrics: bool) -> None:
    chosen = template.with_parameters(DownloadAlarmGigabytes=gigabytes)
    bucket, alarm = (chosen.resolve(chosen.properties(it)) for it in ("Bucket", "DownloadsAlarm"))
    wanted = [{"Name": "BucketName", "Value": "Bucket"}, {"Name": "FilterId", "Value": "all"}]
    assert alarm["Dimensions"] == wanted
    assert bucket.get("MetricsConfigurations") == ([{"Id": "all"}] if has_metrics else None)
    assert alarm["Threshold"] == {"Fn::Sub": "${DownloadAlarmGigabytes}000000000"}, "bytes, where the parameter has GB"


@pytest.mark.parametrize(
    ("seek_through", "acl", "is_refused"), [("edge", "arn", False), ("api", "", False), ("api", "arn", True)]
)
def test_seek_through_api_excludes_a_web_acl(template: Template, seek_through: str, acl: str, is_refused: bool) -> None:
    """The API answers only requests through the edge where there is a web ACL."""
    chosen = template.with_parameters(SeekThrough=seek_through, WebAclArn=acl)
    rule = chosen.body["Rules"]["SeekingNeedsAnOpenApi"]
    [assertion] = rule["Assertions"]
    assert (chosen._holds(rule["RuleCondition"]) and not chosen._holds(assertion["Assert"])) is is_refused
    assert "WebAclArn" in assertion["AssertDescription"]


@pytest.mark.parametrize(("paused", "state"), [("false", "ENABLED"), ("true", "DISABLED")])
def test_cleanup_pause_stops_cleanup_only(template: Template, paused: str, state: str) -> None:
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


def test_extra_certificates_go_to_the_api_only(template: Template) -> None:
    receiving = {it for it in template.functions if "EXTRA_CA_CERTIFICATES" in template.environment(it)}
    assert receiving == {"ApiFunction"}
    value = template.environment("ApiFunction")["EXTRA_CA_CERTIFICATES"]["Fn::If"]
    assert value == ["HasExtraCa", {"Fn::Sub": "{{resolve:ssm:${ExtraCaParameter}}}"}, ""]
