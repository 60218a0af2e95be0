"""Telemetry for tests: it keeps what it is told."""

from dataclasses import dataclass, field

from actions_cache.domain.archive import Archive
from actions_cache.events import Happening, Metric


@dataclass
class Told:
    happenings: list[Happening] = field(default_factory=list)

    def tell(self, happening: Happening) -> None:
        for metric in happening.metrics:
            named = happening.fields[metric.dimension] if metric.dimension else None
            assert named is None or str(named) in metric.values, "a metric of its own, which nobody asked for"
        self.happenings.append(happening)

    def about(self, archive: Archive) -> None:
        """Adds nothing to what is told."""

    @property
    def words(self) -> list[str]:
        return [it.what for it in self.happenings]

    def counted(self, metric: Metric) -> list[object]:
        """The values of the metric's dimension, or where it has none its numbers, in the order they were told."""
        told = [it for it in self.happenings if metric in it.metrics]
        return [it.fields[metric.dimension] if metric.dimension else it.metrics[metric] for it in told]
