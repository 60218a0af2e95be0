"""A token that nobody signed: a server that takes it takes anybody's."""

import base64
import json
import secrets
from typing import Any

from actions_cache_cli.deployment_check.verdicts import Failed

VALID_SECONDS = 3600
READ_WRITE = 3
SCOPE = "refs/heads/verify-deployment"


def unsigned_token(now: float) -> str:
    """As a job's (docs/design/protocol.md#tokens), of no repository. Args: now: seconds since 1970."""
    claims: dict[str, Any] = {
        "iss": "https://token.actions.githubusercontent.com",
        "nbf": int(now) - 60,
        "exp": int(now) + VALID_SECONDS,
        "repository_id": str(secrets.randbelow(10**12)),
        "ac": json.dumps([{"Scope": SCOPE, "Permission": READ_WRITE}]),
    }
    header = {"alg": "RS256", "typ": "JWT"}
    rows = [json.dumps(header).encode(), json.dumps(claims).encode(), b"not a signature"]
    return ".".join(base64.urlsafe_b64encode(row).rstrip(b"=").decode() for row in rows)


def judge_unsigned(*, was_accepted: bool, is_loopback: bool) -> str:
    """What it means that an unsigned token was accepted or not. Raises Failed."""
    if not was_accepted:
        return "an unsigned token is refused"
    if is_loopback:
        return "not here, and on a loopback address they needn't be: this is the local run"
    raise Failed(
        "an unsigned token was accepted, so signatures aren't verified: anybody can read and write anybody's cache "
        "here; set VERIFY_TOKENS to true (the template never turns it off) and remove what was saved until now"
    )
