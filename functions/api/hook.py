"""Serves the hook that points actions at this server, for workflows that fetch it themselves (docs/workflow.md).

What is deployed has this package alone, so hook.cjs is a copy of runners/hook.cjs: after a change, copy it again.
"""

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from actions_cache.http.azure import INERT

FILE = Path(__file__).parent / "hook.cjs"
HOOK = FILE.read_bytes()
"""Read at import, so that a build without the file fails its check (dev/build/package.py)."""

ROOT = "/runner"
METHODS = ["GET", "HEAD"]

MAX_AGE_SECONDS = 300
"""How long a cache between here and the runner may keep an answer. Longer: fewer requests; shorter: a fixed hook is
sooner everywhere."""


def routes() -> APIRouter:
    """Return the routes. They need no token and ask nobody: both answers are made here, once for a process."""
    # As `sha256sum --check` reads it.
    checksum = f"{hashlib.sha256(HOOK).hexdigest()}  {FILE.name}\n".encode()
    router = APIRouter()
    router.add_route(f"{ROOT}/{FILE.name}", _answering(HOOK, "text/javascript"), methods=METHODS)
    router.add_route(f"{ROOT}/{FILE.name}.sha256", _answering(checksum, "text/plain"), methods=METHODS)
    return router


def _answering(body: bytes, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    headers = {
        **INERT,
        "Cache-Control": f"public, max-age={MAX_AGE_SECONDS}",
        "Content-Length": str(len(body)),
        "Content-Type": f"{media_type}; charset=utf-8",
    }

    async def answer(request: Request) -> Response:
        return Response(b"" if request.method == "HEAD" else body, headers=headers)

    return answer
