"""Events as lines of the log, in CloudWatch's embedded metric format if they count for a metric.

A line is both, so that everything a metric counts can be looked up at no further cost. Repository and archive are plain
fields of the line (docs/design/decisions/0014-seeing.md).
"""

import logging
from collections.abc import Mapping

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from actions_cache import logs
from actions_cache.domain.archive import Archive
from actions_cache.events import (
    BYTES_DIRECT,
    BYTES_DISCARDED,
    BYTES_DOWN,
    BYTES_LISTED,
    BYTES_UP,
    MERGE_DURATION,
    MONTH_COST,
    STORED_BYTES,
    TIME_TO_FIRST_BYTE,
    Event,
    Metric,
    about,
)

logger = logging.getLogger(__name__)

NAMESPACE = "ActionsCache"
"""CloudWatch namespace of all metrics."""

UNITS: Mapping[Metric, MetricUnit] = {
    BYTES_UP: MetricUnit.Bytes,
    BYTES_DIRECT: MetricUnit.Bytes,
    BYTES_DOWN: MetricUnit.Bytes,
    BYTES_LISTED: MetricUnit.Bytes,
    TIME_TO_FIRST_BYTE: MetricUnit.Milliseconds,
    MERGE_DURATION: MetricUnit.Milliseconds,
    BYTES_DISCARDED: MetricUnit.Bytes,
    STORED_BYTES: MetricUnit.Bytes,
    MONTH_COST: MetricUnit.NoUnit,
}
"""CloudWatch units of the metrics that aren't counts. CloudWatch has no unit for dollars."""


class LoggedTelemetry:
    """See ports.Telemetry."""

    def about(self, archive: Archive) -> None:
        logs.append(**about(archive))

    def emit(self, event: Event) -> None:
        level = logging.ERROR if event.is_error else logging.INFO
        extra = {**event.fields, **embedded_metrics(event)}
        logger.log(level, event.name, extra=extra, exc_info=event.error, stacklevel=2)


def unit_of(metric: Metric) -> MetricUnit:
    """Return the metric's unit in CloudWatch."""
    return UNITS.get(metric, MetricUnit.Count)


def embedded_metrics(event: Event) -> dict[str, object]:
    """Return the fields that make CloudWatch count the event for its metrics.

    The dimension `service` is POWERTOOLS_SERVICE_NAME, which is the stack's name.
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html.
    """
    if not event.metrics:
        return {}
    metrics = EphemeralMetrics(namespace=NAMESPACE)
    for metric, value in event.metrics.items():
        metrics.add_metric(metric.name, unit_of(metric).value, value)
        if metric.dimension is not None:
            metrics.add_dimension(metric.dimension, metric.value(event.fields[metric.dimension]))
    # Powertools has lists; plain numbers can be summed in a query.
    numbers = {metric.name: value for metric, value in event.metrics.items()}
    return {**metrics.serialize_metric_set(), **numbers}
