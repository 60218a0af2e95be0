"""Tells what is stored and what the month costs, as metrics: so that a graph and an alarm of CloudWatch's can."""

from dataclasses import dataclass

from actions_cache.domain import happenings
from actions_cache.ports import Telemetry
from actions_cache.usecases.estimate_cost import USUAL_HOURS, EstimateCost


@dataclass(frozen=True, slots=True)
class TellCost:
    estimate_cost: EstimateCost
    telemetry: Telemetry

    def __call__(self) -> None:
        now = self.estimate_cost(USUAL_HOURS)
        for happening in happenings.reckoned(now.stored, now.done, now.hours, now.month):
            self.telemetry.tell(happening)
