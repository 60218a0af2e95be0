"""Memory of the functions' processes over a run: its peak, and whether it grows."""

import contextlib
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from threading import Event

import psutil

MIB = 1024 * 1024
SAMPLE_SECONDS = 1

WARM_UP = 1 / 3
"""Of a run: pools fill, modules load, the allocator finds its size."""

FEWEST_SAMPLES = 180

MAX_GROWTH_MIB = 48
MAX_GROWTH = 0.25
"""From one third of a run to the next, whichever of the two is more. Less: the allocator's own moods fail a run.
More: a leak needs longer runs to show; with this, in a quarter of an hour, 10 MiB a minute."""


@dataclass
class Memory:
    """Resident bytes of one process."""

    samples: list[tuple[float, int]] = field(default_factory=list)

    @property
    def peak_mib(self) -> float:
        return max(size for _, size in self.samples) / MIB

    @property
    def typical_mib(self) -> float:
        return statistics.median(size for _, size in self._warm()) / MIB

    @property
    def slope_mib_per_hour(self) -> float:
        """By least squares, after the warm-up."""
        warm = self._warm()
        if len({at for at, _ in warm}) < 2:
            return 0.0
        slope, _ = statistics.linear_regression([at for at, _ in warm], [size for _, size in warm])
        return slope * 3600 / MIB

    @property
    def growth_mib(self) -> float:
        """From the middle of what is warm to its end, by medians."""
        warm = [size for _, size in self._warm()]
        half = len(warm) // 2
        return (statistics.median(warm[half:]) - statistics.median(warm[: half or 1])) / MIB

    def is_flat(self) -> bool:
        """True where the run was too short to tell."""
        if len(self.samples) < FEWEST_SAMPLES:
            return True
        return self.growth_mib <= max(MAX_GROWTH_MIB, MAX_GROWTH * self.typical_mib)

    def _warm(self) -> list[tuple[float, int]]:
        return self.samples[int(len(self.samples) * WARM_UP) :]


def watch(
    processes: Callable[[], Iterable[tuple[str, psutil.Process]]], stop: Event, memories: dict[str, Memory]
) -> None:
    """Samples until it is to stop.

    Args:
        processes: those that there are, each with a name; one that was replaced keeps its name.
        memories: by name, filled in.
    """
    while not stop.wait(SAMPLE_SECONDS):
        for name, process in processes():
            with contextlib.suppress(psutil.Error):
                sample = (time.monotonic(), process.memory_info().rss)
                memories.setdefault(name, Memory()).samples.append(sample)
