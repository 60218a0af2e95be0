"""Serve the hook that points actions at this server, to workflows that fetch it themselves (docs/use/workflow.md).

Hooks also look here whether the server is up, once a job.

Only this package is deployed, so the hook's files are copies of those in runners/, which `make hook` makes.
"""

import hashlib
from http import HTTPStatus
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from actions_cache import events
from actions_cache.http.app import hook_of
from actions_cache.http.headers import INERT_HEADERS
from functions.api.dependencies import Services

NAMES = ("hook.cjs", "hook-requests.cjs")
FILES = {name: (Path(__file__).parent / name).read_bytes() for name in NAMES}
"""Read at import, so that a build without the files fails its check (dev/build/package.py)."""

ROOT = "/runner"

MAX_AGE_SECONDS = 300
"""Seconds that a cache between here and the runner may keep an answer. Longer: fewer requests; shorter: a fixed hook is
sooner everywhere."""

router = APIRouter(prefix=ROOT)


@router.api_route("/{name}.cjs", methods=["GET", "HEAD"])
async def get_hook(request: Request, name: str) -> Response:
    return _answer(request, _content(f"{name}.cjs"), "text/javascript")


@router.api_route("/{name}.cjs.sha256", methods=["GET", "HEAD"])
async def get_checksum(request: Request, name: str) -> Response:
    """Return a line that `sha256sum --check` reads."""
    checksum = hashlib.sha256(_content(f"{name}.cjs")).hexdigest()
    return _answer(request, f"{checksum}  {name}.cjs\n".encode(), "text/plain")


def _content(name: str) -> bytes:
    if name not in FILES:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return FILES[name]


@router.get("/status")
async def get_status(request: Request, services: Services) -> Response:
    """Say that the server is up. It makes no call to AWS, so it is quick, even while AWS isn't."""
    if hook := hook_of(request):
        services.telemetry.emit(events.hook_looked(hook.version, hook.mode))
    return Response(b'{"ok":true}', headers={**INERT_HEADERS, "Content-Type": "application/json"})


def _answer(request: Request, body: bytes, media_type: str) -> Response:
    headers = {
        **INERT_HEADERS,
        "Cache-Control": f"public, max-age={MAX_AGE_SECONDS}",
        "Content-Length": str(len(body)),
        "Content-Type": f"{media_type}; charset=utf-8",
    }
    return Response(b"" if request.method == "HEAD" else body, headers=headers)
