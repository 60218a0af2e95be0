"""Tells what is stored and what the month costs, as metrics: so that a graph and an alarm of CloudWatch's can."""

import logging
from dataclasses import dataclass

from actions_cache.domain import happenings
from actions_cache.domain.errors import TryAgain
from actions_cache.ports import Telemetry
from actions_cache.usecases.estimate_cost import USUAL_HOURS, EstimateCost

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TellCost:
    estimate_cost: EstimateCost
    telemetry: Telemetry

    def __call__(self) -> None:
        """Record the cost; with more repositories than there is time for, do nothing.

        The schedule's other work comes first.
        """
        try:
            now = self.estimate_cost(USUAL_HOURS)
        except TryAgain as fault:
            logger.warning("the month's cost wasn't recorded", extra={"fault": str(fault)})
            return
        for happening in happenings.reckoned(now.stored, now.done, now.hours, now.month):
            self.telemetry.tell(happening)
