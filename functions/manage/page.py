"""Serve the page: static files, and the headers that let a browser run them and nothing else."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import HTMLResponse, Response

from actions_cache.domain.errors import NotFound

router = APIRouter(include_in_schema=False)

FOLDER = Path(__file__).parent / "page"
TYPES = {".css": "text/css; charset=utf-8", ".mjs": "text/javascript; charset=utf-8"}

SECURITY_HEADERS = {"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin"}
IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}
"""Header of files whose path contains their version: browsers never ask for one again."""


@dataclass(frozen=True, slots=True)
class Page:
    """Holds the page's files.

    Args:
        html: the document, still without its nonce.
        files: scripts and styles, by name.
        version: digest of these files, a part of their paths.
    """

    html: str
    files: Mapping[str, bytes]
    version: str


async def page_of_app(request: Request) -> Page:
    """Return the page that the app was created with."""
    page: Page = request.app.state.page
    return page


AppPage = Annotated[Page, Depends(page_of_app)]


@router.get("/")
async def index(page: AppPage) -> Response:
    nonce = secrets.token_urlsafe(16)
    headers = {
        **SECURITY_HEADERS,
        "Cache-Control": "no-store",
        "Content-Security-Policy": content_security_policy(nonce),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
    }
    return HTMLResponse(page.html.replace("{{nonce}}", nonce), headers=headers)


@router.get("/manage/page/{version}/{name}")
async def file(page: AppPage, version: str, name: str) -> Response:
    if version != page.version or name not in page.files:
        raise NotFound("no such file of the page; load the page anew, since it may have changed")
    headers = {**SECURITY_HEADERS, **IMMUTABLE, "Content-Type": TYPES[Path(name).suffix]}
    return Response(page.files[name], headers=headers)


def read_page() -> Page:
    files = {file.name: file.read_bytes() for file in sorted(FOLDER.iterdir()) if file.suffix in TYPES}
    version = _digest(files)
    html = (FOLDER / "index.html").read_text().replace("{{files}}", f"/manage/page/{version}")
    return Page(html, files, version)


def content_security_policy(nonce: str) -> str:
    """Return a policy that allows scripts by nonce alone; modules pass it on to what they import.

    'self' would allow too much: jobs' uploads are served from this origin too. Trusted types forbid turning strings
    into markup.
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
