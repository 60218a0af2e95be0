"""A job's token, as far as it can be judged without its issuer's keys (WIRE.md section 2)."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from doctor.finding import Finding, ok, trouble, unknown

TITLE = "token"
READ = 1
WRITE = 2
CLOCK_MARGIN_SECONDS = 30
"""What the server allows between clocks."""


@dataclass(frozen=True)
class Token:
    readable: tuple[str, ...]
    writable: tuple[str, ...]
    fault: str | None
    """Why the server won't take it; None where nothing speaks against it."""
    describes: str = ""
    """Repository and issuer."""


def read_token(text: str, now: float) -> Token:
    """Raises nothing: a token that can't be read is a fault.

    Args:
        text: a JWT.
        now: seconds since 1970.
    """
    try:
        claims = json.loads(_decoded(text.split(".")[1])) if text.count(".") == 2 else None  # noqa: PLR2004 - a JWT's
    except ValueError:
        claims = None
    if not isinstance(claims, dict):
        return Token((), (), "isn't a JWT; it must be the job's own ACTIONS_RUNTIME_TOKEN, whole")
    readable, writable = _scopes(claims.get("ac"))
    repository = claims.get("repository_id")
    describes = f"repository_id {repository}, issuer {claims.get('iss')}"
    return Token(readable, writable, _fault(claims, readable + writable, now), describes)


def _fault(claims: dict[str, Any], scopes: tuple[str, ...], now: float) -> str | None:
    expires, begins = claims.get("exp"), claims.get("nbf")
    if not isinstance(expires, (int, float)):
        return "has no exp, so the server refuses it"
    if expires + CLOCK_MARGIN_SECONDS < now:
        return f"expired {now - expires:.0f} s ago by this machine's clock; tokens end with their job"
    if isinstance(begins, (int, float)) and begins - CLOCK_MARGIN_SECONDS > now:
        return f"begins in {begins - now:.0f} s by this machine's clock; see the clock"
    if claims.get("repository_id") in (None, ""):
        return "names no repository_id; it must be the job's own ACTIONS_RUNTIME_TOKEN"
    if not scopes:
        return "has no ac claim that names a scope; it must be the job's own ACTIONS_RUNTIME_TOKEN"
    return None


def _scopes(ac: object) -> tuple[tuple[str, ...], tuple[str, ...]]:
    try:
        rows = json.loads(ac) if isinstance(ac, str) else []
        bits = [(str(row["Scope"]), int(row["Permission"])) for row in rows]
    except (ValueError, TypeError, KeyError):
        return (), ()
    return tuple(s for s, bit in bits if bit & READ), tuple(s for s, bit in bits if bit & WRITE)


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def judge_token(token: Token | None) -> Finding:
    """None: there is none."""
    if token is None:
        return unknown(TITLE, "none here, so nothing can be looked up or saved; run it in a job")
    if token.fault is not None:
        return trouble(TITLE, f"ACTIONS_RUNTIME_TOKEN {token.fault}")
    if not token.readable:
        return trouble(TITLE, f"it may read no scope, so every lookup is refused; {token.describes}")
    reads = f"reads {', '.join(token.readable)}"
    if not token.writable:
        return ok(
            TITLE,
            f"read-only, so jobs like this one restore and don't save: GitHub gives such tokens to untrusted events, "
            f"as pull requests of forks are; {reads}; {token.describes}",
        )
    return ok(TITLE, f"{reads}; saves under {token.writable[0]}; {token.describes}")
