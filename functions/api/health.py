"""Serve `/health`. Anybody may ask, and each check is seven calls to AWS, so an answer is remembered."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from functions.api.dependencies import Services

router = APIRouter()


async def get_health(request: Request) -> "Health":
    health: Health = request.app.state.health
    return health


@router.get("/health")
async def answer_health(services: Services, health: Annotated["Health", Depends(get_health)]) -> JSONResponse:
    faults = await health.faults()
    body = {"ok": not faults, "faults": dict(faults), **asdict(services.release)}
    return JSONResponse(body, 503 if faults else 200)


Faults = Mapping[str, str]
"""Errors by component; empty when all is well."""

WELL_SECONDS = 5.0
"""Seconds that a good answer is reused. Longer: fewer calls; shorter: a fault is seen sooner."""

FAULT_SECONDS = 1.0
"""Seconds that a fault is reused: short, since the local run polls until its start has succeeded."""


class Health:
    """Remembers one answer for a process; only one check is under way at a time.

    Args:
        check: returns what is wrong, by component; it may block.
        now: returns the seconds of a clock that never goes back.
    """

    def __init__(self, check: Callable[[], Faults], now: Callable[[], float] = time.monotonic) -> None:
        self._check = check
        self._now = now
        self._known: Faults = {}
        self._good_until = float("-inf")
        self._checking: asyncio.Task[Faults] | None = None

    async def faults(self) -> Faults:
        """Return what is wrong now, or was some seconds ago."""
        if self._now() < self._good_until:
            return self._known
        checking = self._checking
        # On Lambda each request may have its own event loop, where a task of another loop never finishes.
        if checking is None or checking.done() or checking.get_loop() is not asyncio.get_running_loop():
            checking = self._checking = asyncio.create_task(self._check_again())
        # A client that goes away ends only its own wait.
        return await asyncio.shield(checking)

    async def _check_again(self) -> Faults:
        faults = await run_in_threadpool(self._check)
        self._known = faults
        self._good_until = self._now() + (FAULT_SECONDS if faults else WELL_SECONDS)
        return faults
