"""The variables that a runner sets for a job's clients, with an unsigned runtime token.

The local run reads the claims of a token and doesn't verify its signature.
"""

import base64
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

READ = 1
WRITE = 2
READ_WRITE = READ | WRITE

REPOSITORY = "123456"
BRANCH = "refs/heads/feature"
DEFAULT_BRANCH = "refs/heads/main"
OWN_AND_DEFAULT_BRANCH = ((BRANCH, READ_WRITE), (DEFAULT_BRANCH, READ))

VALID_SECONDS = 3600

Api = Literal["v1", "v2"]
"""v2 is github.com's. v1 is the one before it, on GHES, Gitea and act; @actions/cache 3 knows no other."""


def job_variables(server: str, token: str, api: Api = "v2") -> dict[str, str]:
    """Return the variables that say where the cache is and how to get in."""
    url = f"{server}/"
    service = {
        "v1": {"ACTIONS_CACHE_URL": url},
        "v2": {"ACTIONS_RESULTS_URL": url, "ACTIONS_CACHE_SERVICE_V2": "True"},
    }
    return {**service[api], "ACTIONS_RUNTIME_TOKEN": token}


def ac_claim(scopes: Sequence[tuple[str, int]]) -> str:
    """Return the `ac` claim of scopes with their permission bits, in the order in which they are searched."""
    return json.dumps([{"Scope": scope, "Permission": permission} for scope, permission in scopes])


def runtime_token(
    scopes: Sequence[tuple[str, int]] = OWN_AND_DEFAULT_BRANCH, repository: str = REPOSITORY, **claims: object
) -> str:
    """Return a token that is valid for an hour.

    Args:
        scopes: with their permission bits, in the order in which they are searched.
        repository: id of the job's repository.
        claims: to add or replace; None leaves one out.
    """
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
