"""Answers `/health`. Anybody may ask, and each look is seven calls to AWS, so an answer is remembered."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool

from actions_cache.ports import Bucket, MergeQueue, Table, Unavailable
from actions_cache.schema import CheckSchema

Faults = Mapping[str, str]

WELL_SECONDS = 5.0
"""Seconds that a good answer is reused. Longer: fewer calls; shorter: a fault is seen sooner."""

FAULT_SECONDS = 1.0
"""Seconds that a fault is reused: short, since the local run polls until its start has succeeded."""


class Health:
    """Remembers one answer for a process; only one look is under way at a time.

    Args:
        look: what is wrong, by component; it may block.
        now: seconds of a clock that never goes back.
    """

    def __init__(self, look: Callable[[], Faults], now: Callable[[], float] = time.monotonic) -> None:
        self._look = look
        self._now = now
        self._known: Faults = {}
        self._good_until = float("-inf")
        self._looking: asyncio.Task[Faults] | None = None

    async def faults(self) -> Faults:
        """Return what is wrong now, or was some seconds ago."""
        if self._now() < self._good_until:
            return self._known
        looking = self._looking
        # On Lambda each request may have its own event loop, where a task of another loop never finishes.
        if looking is None or looking.done() or looking.get_loop() is not asyncio.get_running_loop():
            looking = self._looking = asyncio.create_task(self._look_again())
        # A client that goes away ends only its own wait.
        return await asyncio.shield(looking)

    async def _look_again(self) -> Faults:
        faults = await run_in_threadpool(self._look)
        self._known = faults
        self._good_until = self._now() + (FAULT_SECONDS if faults else WELL_SECONDS)
        return faults


@dataclass(frozen=True, slots=True)
class CheckHealth:
    check_schema: CheckSchema
    table: Table
    bucket: Bucket
    queue: MergeQueue

    def __call__(self) -> Mapping[str, str]:
        """What is wrong, by component; empty when all is well."""
        checks: Mapping[str, Callable[[], None]] = {
            "schema": self.check_schema,
            "table": self.table.check,
            "bucket": self.bucket.check,
            "queue": self.queue.check,
        }
        return {name: error for name, check in checks.items() if (error := _fault(check))}


def _fault(check: Callable[[], None]) -> str | None:
    try:
        check()
    except Unavailable as error:
        return str(error)
    return None
