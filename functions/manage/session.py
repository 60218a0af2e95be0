"""Keep people signed in on the page, by signed session cookies."""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from actions_cache.domain.access import ManagementTokens, Role
from actions_cache.domain.errors import PermissionDenied, Unauthenticated
from actions_cache.domain.timing import SECOND, Millis
from actions_cache.http.app import base_url, is_secure
from actions_cache.http.schemas import format_timestamp
from actions_cache.management_services import ManagementServices
from functions.manage.dependencies import Services

PATH = "/manage"
"""Path of the cookie: requests below other paths may be passed on to other services, headers included."""

COOKIE = "actions-cache-session"
SECURE_COOKIE = f"__Secure-{COOKIE}"
"""Name that browsers accept over https only, so neither the network nor a page over http can set the cookie."""

SESSION: Millis = 8 * 3600 * SECOND
"""Time that a session lasts. Shorter: people sign in more than once a day. Longer: a browser that was left open, or a
cookie that leaked, stays valid longer."""

router = APIRouter(prefix=f"{PATH}/session", include_in_schema=False)


class Token(BaseModel):
    token: Annotated[str, Field(max_length=1024)]


class SessionInfo(BaseModel):
    """Describes who is signed in, and at which release; all null for nobody."""

    role: Role | None = None
    expires_at: str | None = None
    release: str | None = None


@router.get("")
def read_session(request: Request, services: Services) -> SessionInfo:
    """Return who is signed in; it is no error if nobody is."""
    return _session_info(session_of(request, services), services)


@router.post("")
def sign_in(request: Request, given: Token, response: Response, services: Services) -> SessionInfo:
    """Exchange a token for the session's cookie."""
    public_url = services.core.settings.public_url
    check_same_origin(request, public_url)
    tokens = services.secret.tokens()
    role = tokens.role_of(given.token.strip())
    if role is None:
        raise Unauthenticated("this is neither the admin's token nor the read-only one")
    session = new_session(role, services.core.clock.now())
    _set_cookie(response, request, encode_session(session, tokens), SESSION, public_url)
    return _session_info(session, services)


@router.delete("")
def sign_out(request: Request, response: Response, services: Services) -> SessionInfo:
    """Make the browser forget the cookie."""
    public_url = services.core.settings.public_url
    check_same_origin(request, public_url)
    _set_cookie(response, request, "", 0, public_url)
    return SessionInfo()


@dataclass(frozen=True, slots=True)
class Session:
    role: Role
    expires_at: Millis


def session_of(request: Request, services: ManagementServices) -> Session | None:
    """Return the session of the request's cookie, or None without a valid one."""
    value = request.cookies.get(_cookie_name(request, services.core.settings.public_url))
    if not value:
        return None
    return decode_session(value, services.core.clock.now(), services.secret.tokens())


def check_same_origin(request: Request, public_url: str | None) -> None:
    """Check that a change by cookie comes from our own page: another one could make the browser send the cookie too.

    Raises:
        PermissionDenied: it comes from elsewhere, or doesn't say where from.
    """
    site = request.headers.get("sec-fetch-site")
    # Browsers send it over https and on localhost. Older ones, and people behind some proxies, send only the origin.
    origin = request.headers.get("origin")
    if site == "same-origin" or (site is None and origin == base_url(request, public_url)):
        return
    raise PermissionDenied("this has to come from this server's own page; scripts send `Authorization: Bearer` instead")


def new_session(role: Role, now: Millis) -> Session:
    return Session(role, now + SESSION)


def encode_session(session: Session, tokens: ManagementTokens) -> str:
    """Return a cookie's value, made of letters, digits, hyphens and points, from which no token can be derived."""
    expires = str(session.expires_at // SECOND)
    return f"{session.role}.{expires}.{_sign(session.role, expires, tokens)}"


def decode_session(value: str, now: Millis, tokens: ManagementTokens) -> Session | None:
    """Return the session of a cookie's value; None if it was altered, signed by other tokens, or has expired."""
    role, _, rest = value.partition(".")
    expires, _, signature = rest.partition(".")
    if not hmac.compare_digest(signature.encode(errors="replace"), _sign(role, expires, tokens).encode()):
        return None
    session = Session(Role(role), int(expires) * SECOND)
    return session if session.expires_at > now else None


def _sign(role: str, expires: str, tokens: ManagementTokens) -> str:
    """Return the signature; the message's first line keeps it apart from the read-only token (domain/access.py)."""
    message = f"session\n{tokens.for_reading}\n{role}\n{expires}"
    return hmac.digest(tokens.admin.encode(), message.encode(errors="replace"), hashlib.sha256).hex()


def _set_cookie(response: Response, request: Request, value: str, lifetime: Millis, public_url: str | None) -> None:
    response.set_cookie(
        _cookie_name(request, public_url),
        value,
        max_age=lifetime // SECOND,
        path=PATH,
        secure=is_secure(request, public_url),
        httponly=True,
        samesite="strict",
    )


def _cookie_name(request: Request, public_url: str | None) -> str:
    """Return the cookie's name; only the local run has plain http, where browsers may drop a secure cookie."""
    return SECURE_COOKIE if is_secure(request, public_url) else COOKIE


def _session_info(session: Session | None, services: ManagementServices) -> SessionInfo:
    if session is None:
        return SessionInfo()
    return SessionInfo(
        role=session.role, expires_at=format_timestamp(session.expires_at), release=str(services.core.release)
    )
