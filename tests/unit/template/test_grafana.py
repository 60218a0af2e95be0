"""deploy/grafana.json asks CloudWatch for what the code emits and what AWS measures of the template's resources."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from actions_cache.aws.telemetry import NAMESPACE, unit_of
from actions_cache.events import METRICS, MONTH_COST, STORED_BYTES, STORED_ENTRIES
from dev.local.template import ROOT, Template

FILE = ROOT / "deploy" / "grafana.json"
BOARD = json.loads(FILE.read_text())
METRICS_PAGE = (ROOT / "docs" / "operate" / "metrics.md").read_text()

OWN = {metric.name: metric for metric in METRICS}
TOLD_TWICE_A_DAY = {STORED_BYTES, STORED_ENTRIES, MONTH_COST}

OF_AWS: Mapping[tuple[str, frozenset[str]], Mapping[str, Sequence[str]]] = {
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html
    ("AWS/ApiGateway", frozenset({"ApiName", "Stage"})): {
        "Count": ["Sum"],
        "4XXError": ["Sum"],
        "5XXError": ["Sum"],
        "Latency": ["p50", "p99"],
    },
    # https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/programming-cloudwatch-metrics.html
    ("AWS/CloudFront", frozenset({"DistributionId", "Region"})): {
        "Requests": ["Sum"],
        "BytesDownloaded": ["Sum"],
        "BytesUploaded": ["Sum"],
        "4xxErrorRate": ["Average"],
        "5xxErrorRate": ["Average"],
    },
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html
    ("AWS/DynamoDB", frozenset({"TableName"})): {
        "ConsumedReadCapacityUnits": ["Sum"],
        "ConsumedWriteCapacityUnits": ["Sum"],
        "ReadThrottleEvents": ["Sum"],
        "WriteThrottleEvents": ["Sum"],
    },
    # https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
    ("AWS/Lambda", frozenset({"FunctionName"})): {
        "Invocations": ["Sum"],
        "Errors": ["Sum"],
        "Throttles": ["Sum"],
        "Duration": ["p50", "p99"],
    },
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/metrics-dimensions.html
    ("AWS/S3", frozenset({"BucketName", "StorageType"})): {
        "BucketSizeBytes": ["Average"],
        "NumberOfObjects": ["Average"],
    },
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
    ("AWS/SQS", frozenset({"QueueName"})): {
        "ApproximateNumberOfMessagesVisible": ["Maximum"],
        "ApproximateAgeOfOldestMessage": ["Maximum"],
    },
}
"""Statistics that make sense of AWS's metrics, by namespace and dimensions."""

SEARCH = re.compile(
    r"SEARCH\('\{(?P<namespace>\w+),(?P<dimensions>[\w,]+)\} MetricName=\"(?P<metric>\w+)\" service=\"\$stack\"',"
    r" '(?P<statistic>\w+)', (?P<period>\$__period_auto|43200)\)"
)
MATH = {"FILL", "RUNNING_SUM", "SUM"}
"""Functions of CloudWatch's metric math that the expressions use."""

PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
TARGETS = [target for panel in PANELS for target in panel["targets"]]
VARIABLES = {variable["name"]: variable for variable in BOARD["templating"]["list"]}


def searches() -> Iterator[re.Match[str]]:
    for target in TARGETS:
        yield from SEARCH.finditer(target["expression"])


def statistics_of(metric: str) -> set[str]:
    """Return the statistics that make sense of one of our metrics."""
    if OWN[metric] in TOLD_TWICE_A_DAY:
        return {"Average"}
    if unit_of(OWN[metric]).value == "Milliseconds":
        return {"p50", "p99"}
    row = re.search(rf"^- \*\*`{metric}`.*", METRICS_PAGE, re.MULTILINE)
    assert row
    return {"Sum", "SampleCount"} if "its sample count is the number of" in row[0] else {"Sum"}


def test_board_shows_every_own_metric() -> None:
    named = {target["metricName"] for target in TARGETS if target["namespace"] == NAMESPACE}
    assert named | {found["metric"] for found in searches()} == set(OWN)


def test_own_metrics_have_emitted_dimensions_and_fitting_statistics() -> None:
    for target in TARGETS:
        if target["namespace"] == NAMESPACE:
            assert target["dimensions"] == {"service": "$stack"}
            assert OWN[target["metricName"]].dimension is None, "it is emitted with another dimension, so never so"
            assert target["statistic"] in statistics_of(target["metricName"]), target
    for found in searches():
        metric = OWN[found["metric"]]
        assert (found["namespace"], found["dimensions"]) == (NAMESPACE, f"service,{metric.dimension}")
        assert found["statistic"] in statistics_of(metric.name), found[0]
        assert (found["period"] == "43200") == (metric in TOLD_TWICE_A_DAY)


def test_other_metrics_are_aws_own() -> None:
    asked = [target for target in TARGETS if target["namespace"] not in ("", NAMESPACE)]
    assert {target["namespace"] for target in asked} == {namespace for namespace, _ in OF_AWS}
    for target in asked:
        known = OF_AWS[target["namespace"], frozenset(target["dimensions"])]
        assert target["statistic"] in known[target["metricName"]], target
        assert target["region"] == ("us-east-1" if target["namespace"] == "AWS/CloudFront" else "$region")


def test_dimensions_name_the_stacks_resources(template: Template) -> None:
    api = template.properties("Api")
    assert api["Name"] == {"Ref": "AWS::StackName"}
    values = {name: {t["dimensions"][name] for t in TARGETS if name in t.get("dimensions", {})} for name in NAMED}
    assert values == {name: set(wanted) for name, wanted in NAMED.items()}
    assert values["Stage"] == {api["StageName"]}


NAMED = {
    "ApiName": ["$stack"],
    "Stage": ["v1"],
    "BucketName": ["$bucket"],
    "StorageType": ["StandardStorage", "AllStorageTypes"],
    "DistributionId": ["$distribution"],
    "Region": ["Global"],
    "FunctionName": ["$functions"],
    "QueueName": ["$mergeQueue", "$deadLetters"],
    "TableName": ["$tables"],
}


@pytest.mark.parametrize(
    ("variable", "kind"),
    [
        ("functions", "AWS::Serverless::Function"),
        ("tables", "AWS::DynamoDB::Table"),
        ("bucket", "AWS::S3::Bucket"),
        ("mergeQueue", "AWS::SQS::Queue"),
        ("deadLetters", "AWS::SQS::Queue"),
    ],
)
def test_variable_finds_names_that_cloudformation_makes(template: Template, variable: str, kind: str) -> None:
    """Such as `cache-MergeQueue-1ABC`; a bucket's is in lower case. Another stack's resources aren't found."""
    pattern, flags = _pattern_of(variable)
    resources = sorted(template.of_type(kind))
    assert not any(
        {"FunctionName", "TableName", "QueueName", "BucketName"} & {*template.properties(it)} for it in resources
    )
    expected = {"mergeQueue": ["MergeQueue"], "deadLetters": ["MergeDeadLetterQueue"]}.get(variable, resources)
    for stack, finds in (("Cache-2", True), ("Other-Cache-2", False), ("Cache-2-b", False)):
        names = {resource: f"{stack}-{resource}-1ABC" for resource in resources}
        if variable == "bucket":
            names = {resource: name.lower() for resource, name in names.items()}
        found = [it for it, name in names.items() if re.search(pattern.replace("$stack", "Cache-2"), name, flags)]
        assert found == (expected if finds else [])


def _pattern_of(variable: str) -> tuple[str, re.RegexFlag]:
    found = re.fullmatch(r"/(\^.*)/(i?)", VARIABLES[variable]["regex"])
    assert found
    return found[1], re.IGNORECASE if found[2] else re.NOFLAG


def test_variables_ask_for_metrics_that_exist() -> None:
    for variable in VARIABLES.values():
        query = variable["query"]
        if variable["type"] == "query" and query["queryType"] == "dimensionValues":
            namespace, metric, key = query["namespace"], query["metricName"], query["dimensionKey"]
            if namespace == NAMESPACE:
                assert (key, metric in OWN) == ("service", True)
            else:
                [known] = [it for (name, keys), it in OF_AWS.items() if name == namespace and key in keys]
                assert metric in known


def test_every_variable_is_declared_and_used() -> None:
    asked = json.dumps([BOARD["panels"], [{**it, "name": "", "label": ""} for it in VARIABLES.values()]])
    used = set(re.findall(r"\$\{?([a-z]\w*)\}?", asked))
    assert used - {"__all", "__period_auto"} == set(VARIABLES)
    for owner in (*PANELS, *TARGETS, *(it for it in VARIABLES.values() if it["type"] == "query")):
        assert owner["datasource"] == {"type": "cloudwatch", "uid": "${datasource}"}


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: f"{panel['id']}: {panel['title']}")
def test_expressions_use_the_panels_own_queries(panel: dict[str, Any]) -> None:
    ids = [target["id"] for target in panel["targets"] if target["id"]]
    refs = [target["refId"] for target in panel["targets"]]
    assert (len(ids), len(refs)) == (len(set(ids)), len(set(refs)))
    assert not all(target.get("hide") for target in panel["targets"])
    for target in panel["targets"]:
        assert bool(target["expression"]) != bool(target.get("metricName"))
        words = set(re.findall(r"[A-Za-z_]\w*", SEARCH.sub("", target["expression"])))
        assert words <= {*ids, *MATH}, target["expression"]


def test_panels_neither_overlap_nor_overflow() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
