"""The schedules' events in, what was done out: what is due, and, where the event says so, what nobody owns."""

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
    work = control().find_orphans if event.get("find") == "orphans" else control().clean_up
    done = dict(work(context.get_remaining_time_in_millis))
    logger.info("cleaned up", done=done)
    return done
