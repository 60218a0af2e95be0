"""The schedules' events in, what was done out: what is due, and, where the event says so, what nobody owns.

What an older release wrote is migrated once nothing more is due, or at once where the event says so.
"""

import secrets
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from actions_cache.domain.timing import Millis
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
            done = _compare(remaining)
        case "outdated":
            done = services().migrate(remaining, again=True)
        case None:
            done = _clean_up(remaining)
        case _:
            return refusal(event, "a schedule's event, whose `find` is orphans, outdated or absent")
    logger.info("cleaned up", done=done)
    return dict(done)


def _compare(remaining: Callable[[], Millis]) -> Counter[str]:
    """What is there with what is known of it, and what that costs. A fault before it leaves the listing its turn."""
    corrected = 0
    try:
        corrected = _correct_usage(remaining)
        services().publish_cost()
    finally:
        found = services().find_orphans(remaining)
    return found + Counter({"usages corrected": corrected})


def _correct_usage(remaining: Callable[[], Millis]) -> int:
    """In half of the time, so that orphans have the other. From a random one on: each has its turn within some runs."""
    until, ids = remaining() // 2, [*services().repositories.ids()]
    first = secrets.randbelow(len(ids) + 1)
    corrected = 0
    for repository_id in ids[first:] + ids[:first]:
        if remaining() < until:
            return corrected
        corrected += services().reconcile_usage(repository_id, lambda: remaining() > until)
    return corrected + services().reconcile_usage.store()


def _clean_up(remaining: Callable[[], Millis]) -> Counter[str]:
    """Run each task within its share of the time, however much the one before it finds to do."""
    whole = remaining()
    done = services().clean_up(lambda: remaining() - whole * 2 // 5)
    begin = secrets.randbelow(1000) / 1000
    done["entries evicted"] += services().evict.everywhere(lambda: remaining() > whole // 4, begin)
    return done | services().migrate(remaining)
