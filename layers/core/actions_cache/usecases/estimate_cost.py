"""What a month costs that goes on like the last days."""

from dataclasses import dataclass

from actions_cache.domain.activity import Tally
from actions_cache.domain.cost import Estimate, month_like
from actions_cache.domain.usage import Usage
from actions_cache.ports import Repositories
from actions_cache.usecases.read_activity import ReadActivity

USUAL_HOURS = 7 * 24
"""Whole weeks: at weekends less is built. More of them: a change shows later."""


@dataclass(frozen=True, slots=True)
class CostOfNow:
    stored: Usage
    done: Tally
    """In these hours."""
    hours: int
    month: Estimate


@dataclass(frozen=True, slots=True)
class EstimateCost:
    repositories: Repositories
    read_activity: ReadActivity

    def __call__(self, hours: int) -> CostOfNow:
        """Args: hours: that the month is taken to go on like."""
        stored = self.repositories.store_usage()
        done = sum(self.read_activity(None, hours).values(), Tally())
        return CostOfNow(stored, done, hours, month_like(stored, done, hours))
