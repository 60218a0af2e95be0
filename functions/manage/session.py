"""Keep people signed in: the page's sessions are signed cookies."""

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

SESSION: Millis = 8 * 3600 * SECOND
"""Shorter: people sign in more than once a day. Longer: so is a browser that was left open, or a cookie that leaked."""


@dataclass(frozen=True, slots=True)
class Session:
    role: Role
    expires_at: Millis


def new_session(role: Role, now: Millis) -> Session:
    return Session(role, now + SESSION)


def encode_session(session: Session, tokens: ManagementTokens) -> str:
    """What a cookie may hold: letters, digits, hyphens and points. No token follows from it."""
    expires = str(session.expires_at // SECOND)
    return f"{session.role}.{expires}.{_sign(session.role, expires, tokens)}"


def decode_session(value: str, now: Millis, tokens: ManagementTokens) -> Session | None:
    """None when it was altered, signed by other tokens, or is over."""
    role, _, rest = value.partition(".")
    expires, _, signature = rest.partition(".")
    if not hmac.compare_digest(signature.encode(errors="replace"), _sign(role, expires, tokens).encode()):
        return None
    session = Session(Role(role), int(expires) * SECOND)
    return session if session.expires_at > now else None


def _sign(role: str, expires: str, tokens: ManagementTokens) -> str:
    """Its beginning keeps it apart from the other token that is made of the admin's (domain/access.py)."""
    message = f"session\n{tokens.for_reading}\n{role}\n{expires}"
    return hmac.digest(tokens.admin.encode(), message.encode(errors="replace"), hashlib.sha256).hex()


PATH = "/manage"
"""Of the cookie: what isn't ours goes on to other services from other paths, with its headers."""

COOKIE = "actions-cache-session"
SECURE_COOKIE = f"__Secure-{COOKIE}"
"""A browser takes it only over https: nobody on the way, and no page on plain http, can set one."""


class Token(BaseModel):
    token: Annotated[str, Field(max_length=1024)]


class SessionInfo(BaseModel):
    """Args: role: null for nobody."""

    role: Role | None = None
    expires_at: str | None = None


def routes(management: ManagementServices) -> APIRouter:
    router = APIRouter(prefix=f"{PATH}/session", include_in_schema=False)
    services = management.core

    @router.get("")
    def standing(request: Request) -> SessionInfo:
        """Who is signed in, by the cookie; nobody is no error."""
        return _session_info(session_of(request, management))

    @router.post("")
    def sign_in(request: Request, given: Token, response: Response) -> SessionInfo:
        """Takes a token once, and sets the cookie."""
        check_same_origin(request, services.settings.public_url)
        tokens = management.secret.tokens()
        role = tokens.role_of(given.token.strip())
        if role is None:
            raise Unauthenticated("this is neither the admin's token nor the read-only one")
        session = new_session(role, services.clock.now())
        _set_cookie(response, request, encode_session(session, tokens), SESSION, services.settings.public_url)
        return _session_info(session)

    @router.delete("")
    def sign_out(request: Request, response: Response) -> SessionInfo:
        """Has the browser forget the cookie."""
        check_same_origin(request, services.settings.public_url)
        _set_cookie(response, request, "", 0, services.settings.public_url)
        return SessionInfo()

    return router


def session_of(request: Request, management: ManagementServices) -> Session | None:
    value = request.cookies.get(_cookie_name(request, management.core.settings.public_url))
    if not value:
        return None
    return decode_session(value, management.core.clock.now(), management.secret.tokens())


def check_same_origin(request: Request, public_url: str | None) -> None:
    """What changes something by a cookie has to come from our own page, not from one that makes a browser send it.

    Raises: PermissionDenied.
    """
    site = request.headers.get("sec-fetch-site")
    # Browsers say it over https and on localhost; older ones, and some proxies' users, only have the other.
    origin = request.headers.get("origin")
    if site == "same-origin" or (site is None and origin == base_url(request, public_url)):
        return
    raise PermissionDenied("this has to come from this server's own page; scripts send `Authorization: Bearer` instead")


def _set_cookie(response: Response, request: Request, value: str, lasts: Millis, public_url: str | None) -> None:
    response.set_cookie(
        _cookie_name(request, public_url),
        value,
        max_age=lasts // SECOND,
        path=PATH,
        secure=is_secure(request, public_url),
        httponly=True,
        samesite="strict",
    )


def _cookie_name(request: Request, public_url: str | None) -> str:
    """The local run alone has plain http, on loopback; browsers keep a secure cookie of it or don't, as they like."""
    return SECURE_COOKIE if is_secure(request, public_url) else COOKIE


def _session_info(session: Session | None) -> SessionInfo:
    return (
        SessionInfo()
        if session is None
        else SessionInfo(role=session.role, expires_at=format_timestamp(session.expires_at))
    )
