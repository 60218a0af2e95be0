"""Alarms, dashboard, runbook and docs/operate/metrics.md agree with each other, the code and the template."""

import json
import re
from typing import Any

import pytest

from actions_cache.aws.telemetry import NAMESPACE, unit_of
from actions_cache.cost import CostPart
from actions_cache.domain.cleanup_schedule import CleanupTask
from actions_cache.domain.delivery import PlainReason
from actions_cache.events import METRICS, HookVersion, MissReason, OtherCleanup, RunEnd
from dev.local.template import ROOT, Template

RUNBOOK = (ROOT / "docs" / "operate" / "runbook.md").read_text()
METRICS_PAGE = (ROOT / "docs" / "operate" / "metrics.md").read_text()
CODE = [*(ROOT / "layers" / "core" / "actions_cache").rglob("*.py"), *(ROOT / "functions").rglob("*.py")]
FREE_METRICS_OF_A_DASHBOARD = 50

ALARMS = sorted(Template.load().of_type("AWS::CloudWatch::Alarm"))


def paragraphs() -> dict[str, str]:
    """Return the runbook's paragraphs by heading."""
    headed = re.split(r"^## (.+)$", RUNBOOK, flags=re.MULTILINE)[1:]
    return dict(zip(headed[::2], headed[1::2], strict=True))


def queries(page: str) -> list[str]:
    return [block for tag, block in re.findall(r"^```(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL) if not tag]


# ---------------------------------------------------------------- alarms and the runbook


def test_runbook_paragraphs_have_three_parts() -> None:
    assert sorted(paragraphs()) == ALARMS
    for said in paragraphs().values():
        means, look, do = (said.index(f"**{words}.**") for words in ("What it means", "How to look", "What to do"))
        assert means < look < do
        assert "```" in said[look:do], "the exact query or command"
        # A cleanup in the middle of a restore would delete what is restored.
        before, command, _ = said[do:].partition("CleanupFunction")
        assert not command or "(`CleanupPaused=true`, [a restore](operations.md#restore-the-tables))" in before


@pytest.mark.parametrize("alarm", ALARMS)
def test_alarm_notifies_topic_or_address(template: Template, alarm: str) -> None:
    properties = template.properties(alarm)
    topic, address = {"AlarmTopicArn": "arn:aws:sns:us-east-1:123456789012:pager"}, {"AlarmEmail": "ops@example.com"}
    for named, notified in (({}, None), (topic, [*topic.values()]), (address, ["own"]), (topic | address, ["own"])):
        resolved = template.with_parameters(**named).resolve(properties, {"AlarmTopic": "own"})
        assert resolved.get("AlarmActions") == notified
    assert properties["AlarmDescription"]


def test_alarm_topic_is_deleted_with_the_stack(template: Template) -> None:
    topic = template.body["Resources"]["AlarmTopic"]
    chosen = template.with_parameters(AlarmEmail="ops@example.com")
    assert chosen.condition(topic["Condition"])
    assert not template.condition(topic["Condition"])
    assert "DeletionPolicy" not in topic
    [subscription] = chosen.resolve(topic["Properties"])["Subscription"]
    assert subscription == {"Protocol": "email", "Endpoint": "ops@example.com"}


def threshold_of(alarm: dict[str, Any]) -> float:
    """Return the threshold with every parameter at its default."""
    match alarm["Threshold"]:
        case {"Fn::Sub": str(text)}:
            parameters = Template.load().body["Parameters"]
            return float(re.sub(r"\$\{(\w+)\}", lambda found: str(parameters[found[1]]["Default"]), text))
        case number:
            return float(number)


def state(alarm: dict[str, Any], values: list[float]) -> str:
    """Return the alarm's state in CloudWatch after these values; earlier periods have no data.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
    """
    threshold = threshold_of(alarm)
    breaches = {
        "GreaterThanThreshold": lambda value: value > threshold,
        "GreaterThanOrEqualToThreshold": lambda value: value >= threshold,
        "LessThanThreshold": lambda value: value < threshold,
    }[alarm["ComparisonOperator"]]
    periods = [breaches(value) for value in values]
    match alarm["TreatMissingData"]:
        case "missing" if not periods:
            return "INSUFFICIENT_DATA"
        case "missing":
            pass
        case "breaching" | "notBreaching" as treated:
            periods += [treated == "breaching"] * (alarm["EvaluationPeriods"] - len(periods))
        case treated:
            raise AssertionError(f"not known here: {treated}")
    return "ALARM" if periods and all(periods) else "OK"


@pytest.mark.parametrize(("paused", "is_heard"), [("false", True), ("true", False)])
def test_paused_cleanup_silences_its_alarm(template: Template, paused: str, is_heard: bool) -> None:
    chosen = template.with_parameters(CleanupPaused=paused)
    silent = {it for it in ALARMS if not chosen.resolve(chosen.properties(it).get("ActionsEnabled", True))}
    assert silent == (set() if is_heard else {"CleanupNotRunAlarm"})


@pytest.mark.parametrize("alarm", ALARMS)
def test_alarm_begins_silent_and_ends_with_the_fault(template: Template, alarm: str) -> None:
    """An alarm begins with INSUFFICIENT_DATA, and its actions follow a change of state."""
    properties = template.properties(alarm)
    assert state(properties, []) != "ALARM"
    fault, none = (0.0, 100.0) if properties["ComparisonOperator"] == "LessThanThreshold" else (1e15, 0.0)
    period, periods = properties["Period"], properties["EvaluationPeriods"]
    assert state(properties, [fault] * periods) == "ALARM"
    assert state(properties, [*[fault] * (periods - 1), none]) == "OK"
    # An alarm looks back a week at most if its period is an hour or more, else a day:
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
    assert period % 60 == 0
    assert period * periods <= (7 * 86400 if period >= 3600 else 86400)


def test_alarms_use_emitted_metrics(template: Template) -> None:
    ours = [it for it in map(template.properties, ALARMS) if not it["Namespace"].startswith("AWS/")]
    known = {metric.name: metric for metric in METRICS}
    assert ours
    for properties in ours:
        assert properties["Namespace"] == NAMESPACE
        wanted = {"service", known[properties["MetricName"]].dimension} - {None}
        assert {it["Name"] for it in properties["Dimensions"]} == wanted
    api = template.properties("Api")
    dimensions = {it["Name"]: it["Value"] for it in template.properties("ServerErrorsAlarm")["Dimensions"]}
    assert dimensions == {"ApiName": api["Name"], "Stage": api["StageName"]}


def test_stopped_schedule_is_noticed(template: Template) -> None:
    alarm = template.properties("CleanupNotRunAlarm")
    longest = template.body["Parameters"]["CleanupIntervalMinutes"]["MaxValue"] * 60
    assert alarm["Period"] >= longest
    # Without a call there is no metric. Only a change of state notifies.
    assert state(alarm, [1, 1, 1]) == "OK"
    assert state(alarm, []) == "INSUFFICIENT_DATA"
    assert alarm["InsufficientDataActions"] == alarm["AlarmActions"]
    [orphans] = [
        it["Properties"]["ScheduleExpression"]
        for it in template.functions["CleanupFunction"]["Events"].values()
        if "Input" in it["Properties"]
    ]
    assert orphans == "rate(12 hours)"
    assert template.properties("OrphanListingFailsAlarm")["Period"] == 12 * 3600


@pytest.mark.parametrize("page", ["runbook.md", "metrics.md"])
def test_documented_queries_use_logged_messages(page: str) -> None:
    text = (ROOT / "docs" / "operate" / page).read_text()
    code = "".join(file.read_text() for file in CODE)
    for query in queries(text):
        lists = re.findall(r"message (?:=|in) (\[.*?\]|\"[^\"]*\")", query)
        for words in re.findall(r'"([^"]+)"', " ".join(lists)):
            said = {f"merge {end}" for end in RunEnd}
            assert words in said or f'"{words}"' in code, words


# ---------------------------------------------------------------- the dashboard


@pytest.fixture(scope="module")
def dashboard() -> Any:
    body = Template.load().properties("SeeingDashboard")["DashboardBody"]["Fn::Sub"]
    return json.loads(body)


def test_dashboard_shows_every_alarm(dashboard: Any) -> None:
    [shown] = [it["properties"]["alarms"] for it in dashboard["widgets"] if it["type"] == "alarm"]
    assert sorted(shown) == [f"${{{alarm}.Arn}}" for alarm in ALARMS]
    taken: set[tuple[int, int]] = set()
    for it in dashboard["widgets"]:
        cells = {(x, y) for x in range(it["x"], it["x"] + it["width"]) for y in range(it["y"], it["y"] + it["height"])}
        assert not cells & taken, "no widget overlaps another"
        assert max(x for x, _ in cells) < 24
        taken |= cells


def shown_in(dashboard: Any, title: str) -> Any:
    [widget] = [it["properties"] for it in dashboard["widgets"] if it["properties"]["title"].startswith(title)]
    return widget


def test_dashboard_searches_every_log_for_failures(template: Template, dashboard: Any) -> None:
    logs = sorted(template.of_type("AWS::Logs::LogGroup"))
    assert len(logs) == len(template.functions)
    assert sorted(re.findall(r"SOURCE '\$\{(\w+)\}'", shown_in(dashboard, "What failed")["query"])) == logs


@pytest.mark.parametrize(
    ("title", "kind", "metrics"),
    [
        ("Functions: ", "AWS::Serverless::Function", {"Errors", "Throttles"}),
        ("Tables: ", "AWS::DynamoDB::Table", {"ReadThrottleEvents", "WriteThrottleEvents"}),
    ],
)
def test_dashboard_shows_every_function_and_table(
    template: Template, dashboard: Any, title: str, kind: str, metrics: set[str]
) -> None:
    shown = {(row[1], row[3]) for row in shown_in(dashboard, title)["metrics"]}
    assert shown == {(metric, f"${{{name}}}") for metric in metrics for name in template.of_type(kind)}


def test_pages_name_every_log_group(template: Template) -> None:
    names = {it["LogGroupName"]["Fn::Sub"] for it in map(template.properties, template.of_type("AWS::Logs::LogGroup"))}
    introduction = RUNBOOK.partition("\n## ")[0]
    for name in names:
        shown = name.replace("${AWS::StackName}", "<stack>")
        assert f"`-{name.rpartition('-')[2]}`" in introduction or f"`{shown}`" in introduction
    counts = {5: "five", 6: "six", 7: "seven"}
    assert f"all {counts[len(names)]} log groups" in METRICS_PAGE


def test_dashboard_shows_every_own_metric(dashboard: Any) -> None:
    rows = [row for it in dashboard["widgets"] if it["type"] == "metric" for row in it["properties"]["metrics"]]
    plain = {row[1] for row in rows if row[0] == NAMESPACE and row[2:4] == ["service", "${AWS::StackName}"]}
    searched = {row[0]["expression"] for row in rows if isinstance(row[0], dict)}
    for metric in METRICS:
        if metric.dimension is None:
            # While all is well it isn't sent, and the alarm shows it.
            assert metric.name in plain or metric.name == "OrphanListingFailures"
        else:
            schema = f'{{{NAMESPACE},service,{metric.dimension}}} MetricName="{metric.name}"'
            assert [it for it in searched if schema in it], metric.name
    named = {tuple(it for it in row if isinstance(it, str)) for row in rows if isinstance(row[0], str)}
    assert len(named) <= FREE_METRICS_OF_A_DASHBOARD


# ---------------------------------------------------------------- docs/operate/metrics.md


def metric_rows() -> dict[str, list[str]]:
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", METRICS_PAGE.partition("## Metrics")[2], re.MULTILINE)
    return {name: rest.split(" | ") for name, rest in rows}


def test_page_lists_units_dimensions_and_values() -> None:
    values = {
        "reason": [*MissReason],
        "outcome": [*RunEnd],
        "task": [*CleanupTask, *OtherCleanup],
        "part": [*CostPart],
        "fall": [*PlainReason],
        "hook": [*HookVersion],
    }
    assert metric_rows().keys() == {metric.name for metric in METRICS}
    for metric in METRICS:
        unit, said, *_ = metric_rows()[metric.name]
        assert unit == unit_of(metric).value
        if metric.dimension is None:
            assert said == "\N{EN DASH}"
        elif metric.dimension in values:
            assert set(values[metric.dimension]) == metric.values
            assert said == f"`{metric.dimension}`: {', '.join(values[metric.dimension])}"
        else:
            assert said.startswith(f"`{metric.dimension}`: ")


TELLS = {
    "Hits": r"events\.hit\(",
    "Misses": r"events\.missed\(",
    "BytesUp": r"events\.saved\(",
    "BytesDirect": r"events\.saved\(",
    "BytesDown": r"events\.hit\(",
    "TimeToFirstByte": r"events\.first_byte\(",
    "PartsListed": r"events\.parts_listed\(",
    "BytesListed": r"events\.parts_listed\(",
    "PlainFalls": r"events\.plain_fall\(",
    "HookLooks": r"events\.hook_looked\(",
    "Merges": r"events\.(merged|merge_ended|merge_claimed)\(",
    "MergeDuration": r"events\.merged\(",
    "Cleanup": r"events\.(task_done|task_failed|upload_closed|orphans_deleted)\(",
    "BytesDiscarded": r"events\.(bytes_discarded|orphans_deleted)\(",
    "Evictions": r"events\.evicted\(",
    "OrphanListingFailures": r"events\.orphans_remain\(",
    "StoredBytes": r"events\.cost_estimated\(",
    "StoredEntries": r"events\.cost_estimated\(",
    "MonthCost": r"events\.cost_estimated\(",
    "Errors": r"events\.(refused|unavailable|failed|stream_broken)\(",
}
"""Patterns of the calls that emit each metric."""


def test_each_metric_is_emitted() -> None:
    code = "".join(file.read_text() for file in CODE)
    assert {metric.name for metric in METRICS} == TELLS.keys()
    assert [name for name, call in TELLS.items() if not re.search(call, code)] == []


# ---------------------------------------------------------------- traces


@pytest.mark.parametrize(
    ("traces", "by_api", "by_functions"), [("true", "true", "Active"), ("false", "false", "PassThrough")]
)
def test_requests_are_traced_unless_turned_off(template: Template, traces: str, by_api: str, by_functions: str) -> None:
    assert template.body["Parameters"]["Traces"]["Default"] == "true"
    chosen = template.with_parameters(Traces=traces)
    assert chosen.resolve(chosen.properties("Api")["TracingEnabled"]) == by_api
    assert chosen.resolve(chosen.body["Globals"]["Function"]["Tracing"]) == by_functions
