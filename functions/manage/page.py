"""The page for people: static files, and the headers that let a browser run them and nothing else."""

import hashlib
import secrets
from collections.abc import Mapping
from pathlib import Path

from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

from actions_cache.domain.errors import NotFound

FOLDER = Path(__file__).parent / "page"
TYPES = {".css": "text/css; charset=utf-8", ".mjs": "text/javascript; charset=utf-8"}

EVERYWHERE = {"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin"}
FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}
"""Of what has the files' digest in its path."""


def routes(folder: Path = FOLDER) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    files = {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.suffix in TYPES}
    version = _digest(files)
    page = (folder / "index.html").read_text().replace("{{files}}", f"/manage/page/{version}")

    @router.get("/")
    async def index() -> Response:
        nonce = secrets.token_urlsafe(16)
        headers = {
            **EVERYWHERE,
            "Cache-Control": "no-store",
            "Content-Security-Policy": content_security_policy(nonce),
            "Cross-Origin-Opener-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
        }
        return HTMLResponse(page.replace("{{nonce}}", nonce), headers=headers)

    @router.get("/manage/page/{asked}/{name}")
    async def file(asked: str, name: str) -> Response:
        if asked != version or name not in files:
            raise NotFound("no such file of the page; load the page anew, since it may have changed")
        return Response(files[name], headers={**EVERYWHERE, **FOR_EVER, "Content-Type": TYPES[Path(name).suffix]})

    return router


def content_security_policy(nonce: str) -> str:
    """Scripts by nonce, not by 'self': what jobs upload is served from this origin too. Modules pass it on to imports.

    Trusted types forbid what makes markup of strings.
    """
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'nonce-{nonce}'",
            f"style-src 'nonce-{nonce}'",
            "img-src data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _digest(files: Mapping[str, bytes]) -> str:
    parts = (name.encode() + b"\0" + hashlib.sha256(body).digest() for name, body in files.items())
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]
