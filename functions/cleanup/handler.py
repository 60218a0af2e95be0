"""The schedules' events in, what was done out: what is due, and, where the event says so, what nobody owns."""

from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from actions_cache.domain.timing import Millis
from actions_cache.logs import handled, logger
from actions_cache.settings import Settings
from actions_cache.usecases.clean_up import DEADLINE_MARGIN
from actions_cache.wiring.control import ControlPlane


@cache
def control() -> ControlPlane:
    return ControlPlane(Settings())


@handled
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, int]:
    remaining = context.get_remaining_time_in_millis
    done = control().find_orphans(remaining) if event.get("find") == "orphans" else _clean_up(remaining)
    logger.info("cleaned up", done=done)
    return dict(done)


def _clean_up(remaining: Callable[[], Millis]) -> Counter[str]:
    done = control().clean_up(remaining)
    done["entries evicted"] += control().evict.everywhere(lambda: remaining() > DEADLINE_MARGIN)
    return done
