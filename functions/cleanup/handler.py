"""The schedules' events in, what was done out: what is due, and, where the event says so, what nobody owns.

What an older release wrote is migrated once nothing more is due, or at once where the event says so.
"""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from actions_cache.logs import handled, logger
from actions_cache.settings import Settings
from actions_cache.wiring.control import ControlPlane


@cache
def control() -> ControlPlane:
    return ControlPlane(Settings())


@handled
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, int]:
    remaining = context.get_remaining_time_in_millis
    match event.get("find"):
        case "orphans":
            done = dict(control().find_orphans(remaining))
        case "outdated":
            done = dict(control().migrate(remaining, again=True))
        case _:
            done = {**control().clean_up(remaining), **control().migrate(remaining)}
    logger.info("cleaned up", done=done)
    return done
