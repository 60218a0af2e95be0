"""Telemetry for tests: it keeps what it is told."""

from dataclasses import dataclass, field

from actions_cache.domain.archive import Archive
from actions_cache.events import Event, Metric


@dataclass
class RecordingTelemetry:
    happenings: list[Event] = field(default_factory=list)

    def emit(self, event: Event) -> None:
        for metric in event.metrics:
            named = event.fields[metric.dimension] if metric.dimension else None
            assert named is None or str(named) in metric.values, "a metric of its own, which nobody asked for"
        self.happenings.append(event)

    def about(self, archive: Archive) -> None:
        """Adds nothing to what is told."""

    @property
    def words(self) -> list[str]:
        return [it.name for it in self.happenings]

    def counted(self, metric: Metric) -> list[object]:
        """The values of the metric's dimension, or where it has none its numbers, in the order they were told."""
        told = [it for it in self.happenings if metric in it.metrics]
        return [it.fields[metric.dimension] if metric.dimension else it.metrics[metric] for it in told]
