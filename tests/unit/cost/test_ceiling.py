"""The worst hour of one token follows the template, and its lines add up."""

import io
import json
import logging
import re
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from actions_cache import events, logs
from actions_cache.aws.telemetry import LoggedTelemetry
from actions_cache.cost import PRICES, Line
from actions_cache.domain.entry import MAX_NAME_CHARACTERS, Entry, EntryFamily, EntryName
from actions_cache.domain.errors import InvalidRequest
from actions_cache.events import MissReason
from dev.cost.ceiling import (
    ACCOUNT_REQUESTS_A_SECOND,
    HOUR,
    LINK_GIGABYTES,
    LONGEST_LINE_BYTES,
    Shared,
    Spending,
    ceiling,
    seconds_until_told,
    worst_hour,
)
from dev.cost.cost import DOCUMENT, idle_month, main
from dev.local.template import ROOT, Template
from tests.unit.template.declared import api_events

ESCAPED = "\x01"
"""Character that JSON escapes to six bytes, the most of all."""


def line(template: Template, what: str) -> Spending:
    [found] = [spending for spending in worst_hour(template) if spending.what.startswith(what)]
    return found


def spending(usd: float, shared: Shared | None, what: str = "") -> Spending:
    gigabytes = usd / PRICES["Log"].usd
    return Spending(
        what=what or f"{usd}", quantity=1, unit="", bound="", lines=(Line("", "Log", gigabytes),), shared=shared
    )


# ---------------------------------------------------------------- the sum


def test_dearest_of_competing_lines_counts_alone() -> None:
    up, more_up, down = spending(3, Shared.UP), spending(5, Shared.UP), spending(7, Shared.DOWN)
    assert ceiling([up, more_up, down, spending(11, None), spending(13, None)]) == pytest.approx(5 + 7 + 11 + 13)
    assert ceiling([]) == 0


def test_lines_match_a_reckoning_by_hand(template: Template) -> None:
    """The reckoning uses the prices of a terabyte and of a million."""
    assert line(template, "bytes up, to the bucket").usd == pytest.approx(4.5 * 20)
    assert line(template, "bytes down, through the edge").usd == pytest.approx(4.5 * 85)
    assert line(template, "bytes down, from S3").usd == pytest.approx(4.5 * 90)
    assert line(template, "block lists").usd == pytest.approx(3.6 * (1 + 0.1 + 3.5 + 0.2 + 0.125))
    assert line(template, "PUTs of empty blocks").usd == pytest.approx(12.6 * (5 + 1 + 0.2 + 0.03))
    assert line(template, "the API's time").usd == pytest.approx(3.6 * 13.3334)


def test_each_price_is_used(template: Template) -> None:
    """Those that jobs don't use are part of the idle month."""
    spent = {line.price for spending in worst_hour(template) for line in spending.lines}
    idle = {line.price for line in idle_month(template)}
    assert set(PRICES) - spent - idle == {"DynamoDB recovery"}, "it depends on what is stored"


# ---------------------------------------------------------------- bounds


def test_requests_are_as_many_as_the_throttles_allow(template: Template) -> None:
    methods = len({event for function in template.functions for event in api_events(template, function)})
    jobs, rest = 7 * 1000, (methods - 7) * 50
    spendings = sorted(worst_hour(template), key=lambda spending: spending.quantity)
    by_api = [spending for spending in spendings if any(line.price == "API Gateway" for line in spending.lines)]
    dearest = {spending.shared or spending.what: spending.quantity for spending in by_api}
    assert sum(dearest.values()) == (jobs + rest) * HOUR
    assert line(template, "traces").quantity == (jobs + rest) * HOUR
    above = template.with_parameters(RequestsPerSecond="5000")
    assert line(above, "traces").quantity == ACCOUNT_REQUESTS_A_SECOND * HOUR
    assert line(template.with_parameters(Traces="false"), "traces").usd == 0
    in_gigabytes = [spending.quantity for spending in spendings if spending.unit == "GB" and spending.shared]
    assert max(in_gigabytes) == LINK_GIGABYTES == 4500


@pytest.mark.parametrize(
    ("parameter", "what"),
    [
        ("RequestsPerSecond", "lookups"),
        ("RequestsPerSecond", "log lines"),
        ("LogRetentionDays", "log lines"),
        ("CreatesPerMinute", "saves"),
        ("UploadUrlSeconds", "storage"),
        ("HttpMemory", "the API's time"),
        ("MergeMemory", "the merges' time"),
    ],
)
def test_lower_setting_makes_its_line_cheaper(template: Template, parameter: str, what: str) -> None:
    half = str(template.number({"Ref": parameter}) // 2)
    assert line(template.with_parameters(**{parameter: half}), what).usd < line(template, what).usd


@pytest.mark.parametrize(
    ("parameter", "what"),
    [
        ("ApiConcurrency", "the API's time"),
        ("DownloadConcurrency", "the download function's time"),
        ("MergeWorkers", "the merges' time"),
    ],
)
def test_reserved_concurrency_bounds_the_time(template: Template, parameter: str, what: str) -> None:
    def with_default(**default: int) -> Spending:
        parameters = template.body["Parameters"]
        return line(Template(template.body | {"Parameters": parameters | {parameter: {"Default": 0} | default}}), what)

    free = with_default()
    assert free.quantity == 1000 * HOUR, "0 reserves nothing"
    reserved = with_default(Default=20)
    assert (reserved.quantity, reserved.bound, reserved.shared) == (20 * HOUR, f"`{parameter}`", None)


def test_named_parameters_exist(template: Template) -> None:
    known = {*template.body["Parameters"], *Template.load(ROOT / "deploy" / "web-acl.yaml").body["Parameters"]}
    named = {name for spending in worst_hour(template) for name in re.findall(r"`(\w+)`", spending.bound)}
    assert len(named) > 5
    section = DOCUMENT.read_text().partition("## What limits the bill")[2].partition("\n## ")[0]
    assert named | set(re.findall(r"`([A-Z][a-z]\w+)(?:=\w+)?`", section)) <= known


# ---------------------------------------------------------------- alarms


def test_alarms_exist_and_take_their_periods(template: Template) -> None:
    told = seconds_until_told(template)
    assert {spending.told_by for spending in worst_hour(template)} - {None} <= told.keys()
    assert told["RequestFloodAlarm"] == 300
    assert told["DownloadsAlarm"] == 3 * 300
    assert told["MergeBacklogAlarm"] == 900 + 3 * 300, "the oldest message has to grow old first"


@pytest.mark.parametrize(
    ("parameter", "value", "what", "alarm"),
    [
        ("RequestsPerSecond", "250", "lookups", "RequestFloodAlarm"),
        ("RequestsPerSecond", "249", "lookups", None),
        # 10 Gbit/s are 375 GB in five minutes.
        ("DownloadAlarmGigabytes", "374", "bytes down, from S3", "DownloadsAlarm"),
        ("DownloadAlarmGigabytes", "375", "bytes down, from S3", None),
        ("DownloadAlarmGigabytes", "0", "bytes down, from S3", None),
    ],
)
def test_flood_below_the_threshold_sets_off_no_alarm(
    template: Template, parameter: str, value: str, what: str, alarm: str | None
) -> None:
    assert line(template.with_parameters(**{parameter: value}), what).told_by == alarm


# ---------------------------------------------------------------- log lines


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> io.StringIO:
    stream = io.StringIO()
    [handler] = logs.logger.handlers
    monkeypatch.setattr(handler, "stream", stream)
    caplog.set_level(logging.INFO, "actions_cache")
    return stream


def test_longest_log_line_is_as_long_as_reckoned(written: io.StringIO) -> None:
    key, scope = ESCAPED * MAX_NAME_CHARACTERS, f"refs/heads/{'x' * 255}"
    repository = f"{'4' * 64}@{'h' * 200}"
    entry = Entry(EntryName(EntryFamily(repository, scope, "v"), key), "5f" * 16, 10**12, 10**12)
    logs.begin("r" * 36)
    logs.append(repository=repository, archive_id="5f" * 16)
    telemetry = LoggedTelemetry()
    telemetry.emit(events.hit(entry, key, is_merged=True))
    telemetry.emit(events.missed(repository, (scope,) * 3, key, MissReason.NO_MATCH))
    telemetry.emit(events.refused(f"PUT {ESCAPED * 200}", InvalidRequest(ESCAPED * 8000)))
    logs.logger.thread_safe_clear_keys()
    lengths = [len(text.encode()) + 1 for text in written.getvalue().splitlines()]
    assert len(lengths) == 3
    assert max(lengths) <= LONGEST_LINE_BYTES < 1.1 * max(lengths)


# ---------------------------------------------------------------- shown


def test_command_prints_the_worst_hour_alone(template: Template, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--ceiling"])
    printed = capsys.readouterr().out
    assert printed.startswith("## What one token can cost in an hour\n")
    assert printed.count("\n## ") == 0
    silent = sum(spending.told_by is None for spending in worst_hour(template))
    assert f"{silent} of {len(worst_hour(template))} lines set off no alarm" in printed


def _shown(option: str) -> Any:
    [text] = re.findall(rf"--{option} '(.*)'", DOCUMENT.read_text())
    return json.loads(text)


def test_budget_on_the_page_is_valid() -> None:
    operation = botocore.session.get_session().get_service_model("budgets").operation_model("CreateBudget")
    asked = {
        "AccountId": "123456789012",
        "Budget": _shown("budget"),
        "NotificationsWithSubscribers": _shown("notifications-with-subscribers"),
    }
    assert operation.input_shape
    report = ParamValidator().validate(asked, operation.input_shape)
    assert not report.has_errors(), report.generate_report()
