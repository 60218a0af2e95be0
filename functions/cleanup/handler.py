"""Handle the schedules' events: do what is due, or, as the event says, find orphans or migrate what is outdated."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from actions_cache.logs import handled, logger, refusal
from actions_cache.settings import Settings
from functions.cleanup.services import CleanupServices


@cache
def services() -> CleanupServices:
    return CleanupServices(Settings())


@handled
def lambda_handler(event: Any, context: LambdaContext) -> dict[str, Any]:
    remaining = context.get_remaining_time_in_millis
    match event.get("find") if isinstance(event, dict) else "no event":
        case "orphans":
            done = services().reconcile(remaining)
        case "outdated":
            done = services().migrate(remaining, again=True)
        case None:
            done = services().run_cleanup(remaining)
        case _:
            return refusal(event, "a schedule's event, whose `find` is orphans, outdated or absent")
    logger.info("cleaned up", done=done)
    return dict(done)
