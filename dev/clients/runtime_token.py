"""Runtime tokens as a job gets them, unsigned: the local run reads their claims and doesn't verify."""

import base64
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

READ = 1
WRITE = 2
READ_WRITE = READ | WRITE

REPOSITORY = "123456"
BRANCH = "refs/heads/feature"
DEFAULT_BRANCH = "refs/heads/main"
OWN_AND_DEFAULT_BRANCH = ((BRANCH, READ_WRITE), (DEFAULT_BRANCH, READ))

VALID_SECONDS = 3600


def ac_claim(scopes: Sequence[tuple[str, int]]) -> str:
    """Scopes with their permission bits, in the order in which they are to be searched."""
    return json.dumps([{"Scope": scope, "Permission": permission} for scope, permission in scopes])


def runtime_token(
    scopes: Sequence[tuple[str, int]] = OWN_AND_DEFAULT_BRANCH, repository: str = REPOSITORY, **claims: object
) -> str:
    """Args: claims: to add or replace; None leaves one out."""
    now = int(time.time())
    usual: dict[str, Any] = {
        "iss": "https://token.actions.githubusercontent.com",
        "exp": now + VALID_SECONDS,
        "nbf": now - 10,
        "repository_id": repository,
        "ac": ac_claim(scopes),
    }
    return encode({name: value for name, value in (usual | claims).items() if value is not None})


def encode(claims: Mapping[str, Any]) -> str:
    header = _base64url(json.dumps({"alg": "RS256", "typ": "JWT"}).encode())
    return f"{header}.{_base64url(json.dumps(claims).encode())}.{_base64url(b'no signature')}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
