"""What happens in the cache and what it costs: told by the schedule, asked by people."""

from functools import cached_property

from actions_cache.usecases.estimate_cost import EstimateCost
from actions_cache.usecases.read_activity import ReadActivity
from actions_cache.wiring.shared import Shared


class Insight(Shared):
    @cached_property
    def read_activity(self) -> ReadActivity:
        return ReadActivity(self.repositories, self.clock, self.threads)

    @cached_property
    def estimate_cost(self) -> EstimateCost:
        return EstimateCost(self.repositories, self.read_activity)
