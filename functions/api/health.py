"""What `/health` answers. Anybody may ask, and each look is seven calls to AWS, so an answer is remembered."""

import asyncio
import time
from collections.abc import Callable, Mapping

from starlette.concurrency import run_in_threadpool

Faults = Mapping[str, str]

WELL_SECONDS = 5.0
"""How long a good answer is given again. Longer: fewer calls; shorter: a fault is seen sooner."""

FAULT_SECONDS = 1.0
"""How long a fault is: who waits for its end, as the local run does where it starts, sees that soon."""


class Health:
    """Remembers one answer for a process; while a look is under way, nobody begins another.

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
        """Return what is wrong, or was some seconds ago."""
        if self._now() < self._good_until:
            return self._known
        looking = self._looking
        # On Lambda each request may have a loop of its own: a task of another one is never done here.
        if looking is None or looking.done() or looking.get_loop() is not asyncio.get_running_loop():
            looking = self._looking = asyncio.create_task(self._look_again())
        # A client that goes away ends its own wait, and nobody else's.
        return await asyncio.shield(looking)

    async def _look_again(self) -> Faults:
        faults = await run_in_threadpool(self._look)
        self._known = faults
        self._good_until = self._now() + (FAULT_SECONDS if faults else WELL_SECONDS)
        return faults
