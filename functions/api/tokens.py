"""Runtime tokens: whose they are, and what they allow (WIRE.md section 2)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jwt

from actions_cache.domain.access import Caller, Scope
from actions_cache.domain.errors import TryAgain, Unauthenticated
from actions_cache.settings import CLOCK_MARGIN_SECONDS

if TYPE_CHECKING:
    from jwt.types import Options

MAX_TOKEN_CHARACTERS = 16 * 1024
MAX_SCOPES = 64
MAX_REPOSITORY_CHARACTERS = 64
JWKS_CACHED_SECONDS = 300
JWKS_TIMEOUT_SECONDS = 5
JWKS_COOLDOWN_SECONDS = 30
"""Between fetches for keys that nobody knows, or made-up key ids would make this server call the issuer each time.
An issuer publishes a new key before it signs with it."""

_CLAIM_CHECKS: "Options" = {"verify_exp": True, "verify_nbf": True, "verify_iat": False, "require": ["exp"]}


@dataclass(frozen=True)
class TokenReader:
    """Reads tokens, and trusts whom it is told to.

    Args:
    issuers: whose tokens come in; each publishes its keys at `<issuer>/.well-known/jwks`.
    audience: what `aud` must name, where it is set.
    verify: False for the local run alone: claims count, signatures don't.
    """

    issuers: Sequence[str]
    audience: str | None
    verify: bool
    _key_sets: dict[str, jwt.PyJWKClient] = field(default_factory=dict)

    def read(self, authorization: str | None) -> Caller:
        """The caller that an `Authorization` header names.

        Raises:
            Unauthenticated: no token, a malformed or expired one, or one whose signature doesn't hold.
            TryAgain: the issuer's keys can't be had now.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthenticated("no token: send the job's ACTIONS_RUNTIME_TOKEN as a bearer token")
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise Unauthenticated(f"the token has {len(token)} characters; at most {MAX_TOKEN_CHARACTERS} are read")
        try:
            claims = self._verified(token.strip()) if self.verify else self._unverified(token.strip())
        except jwt.PyJWKClientConnectionError as error:
            raise TryAgain("the token's issuer doesn't answer with its keys; try again") from error
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"the token isn't good: {error}") from error
        return _caller(claims)

    def _unverified(self, token: str) -> dict[str, Any]:
        return jwt.decode(
            token,
            options={"verify_signature": False, "verify_aud": False, **_CLAIM_CHECKS},
            leeway=CLOCK_MARGIN_SECONDS,
        )

    def _verified(self, token: str) -> dict[str, Any]:
        issuer = str(jwt.decode(token, options={"verify_signature": False}).get("iss"))
        if issuer not in self.issuers:
            raise jwt.InvalidIssuerError(f"its issuer {issuer!r} isn't one of {', '.join(self.issuers)}")
        return jwt.decode(
            token,
            self._keys_of(issuer).get_signing_key_from_jwt(token),
            algorithms=["RS256"],
            issuer=issuer,
            audience=self.audience,
            options={"verify_aud": self.audience is not None, **_CLAIM_CHECKS},
            leeway=CLOCK_MARGIN_SECONDS,
        )

    def _keys_of(self, issuer: str) -> jwt.PyJWKClient:
        if issuer not in self._key_sets:
            self._key_sets[issuer] = jwt.PyJWKClient(
                f"{issuer.rstrip('/')}/.well-known/jwks",
                lifespan=JWKS_CACHED_SECONDS,
                timeout=JWKS_TIMEOUT_SECONDS,
                cooldown_duration=JWKS_COOLDOWN_SECONDS,
            )
        return self._key_sets[issuer]


def _caller(claims: dict[str, Any]) -> Caller:
    repository = str(claims.get("repository_id") or "")
    if not repository.isascii() or not 1 <= len(repository) <= MAX_REPOSITORY_CHARACTERS:
        raise Unauthenticated("the token names no repository_id; is it the job's ACTIONS_RUNTIME_TOKEN?")
    return Caller(repository, _scopes(claims.get("ac")))


def _scopes(ac: object) -> tuple[Scope, ...]:
    """`ac` is a JSON string: `[{"Scope": "refs/heads/main", "Permission": 3}]`."""
    try:
        rows = json.loads(ac) if isinstance(ac, str) else None
        scopes = tuple(Scope(_utf8(row["Scope"]), int(row["Permission"])) for row in rows or ())
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        scopes = ()
    if not 1 <= len(scopes) <= MAX_SCOPES:
        raise Unauthenticated("the token's ac claim isn't a list of scopes; is it the job's ACTIONS_RUNTIME_TOKEN?")
    return scopes


def _utf8(text: str) -> str:
    """JSON can name half a character, a table can't hold one. Raises ValueError."""
    str(text).encode()
    return str(text)
