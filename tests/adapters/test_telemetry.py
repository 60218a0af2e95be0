"""What is told becomes a line that CloudWatch counts by (its embedded metric format)."""

import logging

import pytest

from actions_cache.adapters.telemetry import NAMESPACE, LoggedTelemetry, embedded_metrics
from actions_cache.domain import happenings
from actions_cache.domain.happenings import METRICS, Happening, Metric, MissReason, RunEnd


@pytest.fixture(autouse=True)
def stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "stack")


@pytest.mark.parametrize("metric", METRICS, ids=lambda it: it.name)
def test_every_metric_is_named_in_its_line_with_its_unit_and_dimensions(metric: Metric):
    fields = {metric.dimension: "value"} if metric.dimension else {}
    line = embedded_metrics(Happening(what="happened", fields=fields, metrics={metric: 7}))
    [directive] = line["_aws"]["CloudWatchMetrics"]  # type: ignore[index]
    assert directive["Namespace"] == NAMESPACE
    assert directive["Metrics"] == [{"Name": metric.name, "Unit": metric.unit.value}]
    [dimensions] = directive["Dimensions"]
    assert set(dimensions) == {"service", *fields}
    assert {name: line[name] for name in dimensions} == {"service": "stack", **fields}
    assert line[metric.name] == 7, "a plain number, which a query can sum"


def test_what_counts_for_nothing_is_a_plain_line():
    assert embedded_metrics(Happening(what="happened")) == {}


def test_a_line_has_its_words_its_level_and_its_fault(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "actions_cache")
    telemetry = LoggedTelemetry()
    telemetry.tell(happenings.missed("42", ("refs/heads/main",), "npm-1", MissReason.BROKEN))
    fault = RuntimeError("odd")
    telemetry.tell(happenings.merge_ended({"archive_id": "5f"}, RunEnd.FAILED, fault))
    miss, failure = caplog.records
    assert (miss.levelname, miss.message, vars(miss)["reason"]) == ("INFO", "miss", "broken")
    assert (failure.levelname, failure.message) == ("ERROR", "merge failed")
    assert failure.exc_info
    assert failure.exc_info[1] is fault
    assert miss.funcName == "test_a_line_has_its_words_its_level_and_its_fault", "whoever told it, not the adapter"
