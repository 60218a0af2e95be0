"""Events become lines of the log from which CloudWatch counts metrics (its embedded metric format)."""

import logging

import pytest

from actions_cache import events
from actions_cache.aws.telemetry import NAMESPACE, LoggedTelemetry, embedded_metrics, unit_of
from actions_cache.domain.errors import InvalidRequest
from actions_cache.events import (
    MAX_ERROR_CHARACTERS,
    METRICS,
    OTHER,
    Event,
    Metric,
    MissReason,
    RunEnd,
)


@pytest.fixture(autouse=True)
def stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "stack")


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_metric_line_has_unit_and_dimensions(metric: Metric):
    fields = {metric.dimension: min(metric.values)} if metric.dimension else {}
    line = embedded_metrics(Event(name="happened", fields=fields, metrics={metric: 7}))
    [directive] = line["_aws"]["CloudWatchMetrics"]  # type: ignore[index]
    assert directive["Namespace"] == NAMESPACE
    assert directive["Metrics"] == [{"Name": metric.name, "Unit": unit_of(metric).value}]
    [dimensions] = directive["Dimensions"]
    assert set(dimensions) == {"service", *fields}
    assert {name: line[name] for name in dimensions} == {"service": "stack", **fields}
    assert line[metric.name] == 7, "a plain number, which a query can sum"


@pytest.mark.parametrize("metric", [metric for metric in METRICS if metric.dimension], ids=lambda metric: metric.name)
def test_unknown_dimension_value_becomes_other(metric: Metric, caplog: pytest.LogCaptureFixture):
    """Each value would otherwise be one more metric, for $0.30 a month."""
    assert metric.dimension
    assert 2 <= len(metric.values) <= 30
    caplog.set_level(logging.INFO, "actions_cache")
    LoggedTelemetry().emit(Event(name="happened", fields={metric.dimension: "a key of a job"}, metrics={metric: 1}))
    assert vars(caplog.records[0])[metric.dimension] == OTHER


@pytest.mark.parametrize(
    ("event", "value"),
    [
        (events.refused("GET /", InvalidRequest("no")), "InvalidRequest"),
        (events.unavailable("GET /", RuntimeError("S3")), "Unavailable"),
        (events.failed("GET /", RuntimeError("odd")), "Unexpected"),
        (events.stream_broken(1, 2, RuntimeError("gone")), "StreamBroken"),
        (events.task_failed("5f", RuntimeError("odd")), "failed"),
        (next(events.orphans_deleted("5f", [])), "delete orphans"),
        (events.missed("42", (), "npm-1", MissReason.NO_MATCH), "no match"),
        (events.merge_ended({}, RunEnd.NOT_OURS), "not ours"),
    ],
)
def test_event_dimension_value_is_known(event: Event, value: str):
    [metric] = event.metrics
    assert metric.dimension
    assert value in metric.values
    assert embedded_metrics(event)[metric.dimension] == value


def test_long_error_messages_are_truncated():
    error = InvalidRequest("comp=" + "x" * 8000)
    for event in (events.refused("PUT /", error), events.unavailable("PUT /", error)):
        assert len(str(event.fields["error"])) == MAX_ERROR_CHARACTERS
    assert len(str(events.stream_broken(1, 2, error).fields["error"])) < 2 * MAX_ERROR_CHARACTERS


def test_event_without_metric_has_no_emf():
    assert embedded_metrics(Event(name="happened")) == {}


def test_log_record_has_message_level_and_error(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "actions_cache")
    telemetry = LoggedTelemetry()
    telemetry.emit(events.missed("42", ("refs/heads/main",), "npm-1", MissReason.BROKEN))
    error = RuntimeError("odd")
    telemetry.emit(events.merge_ended({"archive_id": "5f"}, RunEnd.FAILED, error))
    miss, failure = caplog.records
    assert (miss.levelname, miss.message, vars(miss)["reason"]) == ("INFO", "miss", "broken")
    assert (failure.levelname, failure.message) == ("ERROR", "merge failed")
    assert failure.exc_info
    assert failure.exc_info[1] is error
    assert miss.funcName == "test_log_record_has_message_level_and_error", "the caller, not the adapter"
