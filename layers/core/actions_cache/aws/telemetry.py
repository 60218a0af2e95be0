"""Happenings as lines of the log, in CloudWatch's embedded metric format where they count for a metric.

One line is both, so that whatever a metric counts can be looked up, and costs one line. Repository and archive stand in
it as plain fields (docs/decisions/0014-seeing.md).
"""

import logging

from aws_lambda_powertools.metrics import EphemeralMetrics

from actions_cache import logs
from actions_cache.domain.archive import Archive
from actions_cache.events import Event, about

logger = logging.getLogger(__name__)


NAMESPACE = "ActionsCache"


class LoggedTelemetry:
    """See ports.Telemetry."""

    def about(self, archive: Archive) -> None:
        logs.append(**about(archive))

    def emit(self, event: Event) -> None:
        level = logging.ERROR if event.is_error else logging.INFO
        extra = {**event.fields, **embedded_metrics(event)}
        logger.log(level, event.name, extra=extra, exc_info=event.error, stacklevel=2)


def embedded_metrics(event: Event) -> dict[str, object]:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html.

    The dimension `service` is POWERTOOLS_SERVICE_NAME, the stack.
    """
    if not event.metrics:
        return {}
    metrics = EphemeralMetrics(namespace=NAMESPACE)
    for metric, value in event.metrics.items():
        metrics.add_metric(metric.name, metric.unit.value, value)
        if metric.dimension is not None:
            metrics.add_dimension(metric.dimension, metric.value(event.fields[metric.dimension]))
    # Plain numbers, where Powertools has lists: so a query can sum them by their names.
    numbers = {metric.name: value for metric, value in event.metrics.items()}
    return {**metrics.serialize_metric_set(), **numbers}
