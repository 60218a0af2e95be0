"""Sessions of the page for people: who signed in, and until when. The browser keeps it, signed; nothing is stored here.

So a session that was signed out is only forgotten by its browser, and ends for good with its hours, or when the
management secret is replaced: both tokens are in what signs it.
"""

import hashlib
import hmac
from dataclasses import dataclass

from actions_cache.domain.role import ManagementTokens, Role
from actions_cache.domain.timing import SECOND, Millis

SESSION: Millis = 8 * 3600 * SECOND
"""Shorter: people sign in more than once a day. Longer: so is a browser that was left open, or a cookie that leaked."""


@dataclass(frozen=True, slots=True)
class Session:
    role: Role
    expires_at: Millis


def begun(role: Role, now: Millis) -> Session:
    return Session(role, now + SESSION)


def sealed(session: Session, tokens: ManagementTokens) -> str:
    """What a cookie may hold: letters, digits, hyphens and points. No token follows from it."""
    expires = str(session.expires_at // SECOND)
    return f"{session.role}.{expires}.{_sign(session.role, expires, tokens)}"


def opened(value: str, now: Millis, tokens: ManagementTokens) -> Session | None:
    """None when it was altered, signed by other tokens, or is over."""
    role, _, rest = value.partition(".")
    expires, _, signature = rest.partition(".")
    if not hmac.compare_digest(signature.encode(errors="replace"), _sign(role, expires, tokens).encode()):
        return None
    session = Session(Role(role), int(expires) * SECOND)
    return session if session.expires_at > now else None


def _sign(role: str, expires: str, tokens: ManagementTokens) -> str:
    """Its beginning keeps it apart from the other token that is made of the admin's (domain/role.py)."""
    message = f"session\n{tokens.for_reading}\n{role}\n{expires}"
    return hmac.digest(tokens.admin.encode(), message.encode(errors="replace"), hashlib.sha256).hex()
