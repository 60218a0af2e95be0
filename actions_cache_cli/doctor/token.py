"""A job's token, as far as it can be judged without its issuer's keys (docs/design/protocol.md#tokens)."""

from __future__ import annotations

import base64
import json
import math
import re
from dataclasses import dataclass
from typing import Any

from actions_cache_cli.doctor.finding import Finding, ok, trouble, unknown

TITLE = "token"
READ = 1
WRITE = 2
CLOCK_MARGIN_SECONDS = 30
"""What the server allows between clocks."""

FAR = 10**12
"""Seconds. What is further away than that is as far."""

GITHUB = "https://token.actions.githubusercontent.com"
_GITHUBS_ID = re.compile("[1-9][0-9]{0,63}")
_OTHERS_ID = re.compile("(?!0$)[A-Za-z0-9_-]{1,64}")
"""Repository id from another issuer, as the server accepts it."""


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
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        return Token((), (), "isn't a JWT; it must be the job's own ACTIONS_RUNTIME_TOKEN, whole")
    readable, writable = _scopes(claims.get("ac"))
    repository = claims.get("repository_id")
    describes = f"repository_id {repository}, issuer {claims.get('iss')}"
    return Token(readable, writable, _fault(claims, readable + writable, now), describes)


def _fault(claims: dict[str, Any], scopes: tuple[str, ...], now: float) -> str | None:
    expires, begins = _seconds(claims.get("exp")), _seconds(claims.get("nbf"))
    if expires is None:
        return "has no exp that is a number, so the server refuses it"
    if begins is None and claims.get("nbf") is not None:
        return "has an nbf that is no number, so the server refuses it"
    if expires + CLOCK_MARGIN_SECONDS < now:
        return f"expired {now - expires:.0f} s ago by this machine's clock; tokens end with their job"
    if begins is not None and begins - CLOCK_MARGIN_SECONDS > now:
        return f"begins in {begins - now:.0f} s by this machine's clock; see the clock"
    if not _is_repository(claims.get("repository_id"), claims.get("iss")):
        return "names no repository_id that the server takes; it must be the job's own ACTIONS_RUNTIME_TOKEN"
    if not scopes:
        return "has no ac claim that names a scope; it must be the job's own ACTIONS_RUNTIME_TOKEN"
    return None


def _seconds(value: object) -> float | None:
    """Return a moment that a claim names; None for what is no number, as true and Infinity are none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return max(-FAR, min(value, FAR))


def _is_repository(named: object, issuer: object) -> bool:
    if isinstance(named, bool) or not isinstance(named, (int, str)):
        return False
    is_githubs = str(issuer or GITHUB).rstrip("/") == GITHUB
    return (_GITHUBS_ID if is_githubs else _OTHERS_ID).fullmatch(str(named)) is not None


def _permission(value: object) -> int:
    """Raises ValueError for what isn't a number of bits."""
    if type(value) is not int or value < 0:
        raise ValueError("not a number of bits")
    return value


def _scopes(ac: object) -> tuple[tuple[str, ...], tuple[str, ...]]:
    try:
        rows = json.loads(ac) if isinstance(ac, str) else []
        bits = [(str(row["Scope"]), _permission(row["Permission"])) for row in rows]
    except (ValueError, TypeError, KeyError, RecursionError):
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
