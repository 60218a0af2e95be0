"""Runtime tokens: whose they are, and what they allow (WIRE.md section 2)."""

import json
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jwt

from actions_cache.domain.access import (
    GITHUB,
    MAX_ISSUER_CHARACTERS,
    Caller,
    ClaimRule,
    Scope,
    check_claims,
    claim_of,
    qualified,
    without_slash,
)
from actions_cache.domain.errors import TryAgain, Unauthenticated
from actions_cache.domain.repository import is_name
from actions_cache.settings import CLOCK_MARGIN_SECONDS
from functions.api.issuer_keys import IssuerKeys

if TYPE_CHECKING:
    from jwt.types import Options

MAX_TOKEN_CHARACTERS = 16 * 1024
MAX_SCOPES = 64

_REPOSITORY = re.compile("(?!0$)[!-?A-~]{1,64}")
"""No blank, and no `@`, by which a repository's name here is told from its issuer."""

_CLAIM_CHECKS: "Options" = {"verify_exp": True, "verify_nbf": True, "verify_iat": False}


@dataclass(frozen=True)
class TokenReader:
    """Reads tokens, and trusts whom it is told to.

    Args:
        issuers: whose tokens come in; each publishes its keys at `<issuer>/.well-known/jwks`. No slash ends them.
        audience: what `aud` must name, where it is set.
        rules: what else a token must say.
        verify: False for the local run alone: claims count, signatures don't.
        trust: whose certificates are good where keys are fetched; None: public authorities'.
    """

    issuers: Sequence[str]
    audience: str | None
    rules: Sequence[ClaimRule] = ()
    verify: bool = True
    trust: ssl.SSLContext | None = None
    _keys: dict[str, IssuerKeys] = field(default_factory=dict)

    def read(self, authorization: str | None) -> Caller:
        """The caller that an `Authorization` header names.

        Raises:
            Unauthenticated: no token, a malformed or expired one, or one whose signature doesn't hold.
            PermissionDenied: a good token, but not of a job that this server is for.
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
        issuer = str(claims.get("iss") or GITHUB)
        caller = _caller(claims, issuer)
        check_claims(self.rules, issuer, claims)
        return caller

    def _unverified(self, token: str) -> dict[str, Any]:
        """Also one that never expires, as other servers' tests make them: whoever gets here can write any expiry."""
        return jwt.decode(
            token,
            options={"verify_signature": False, "verify_aud": False, **_CLAIM_CHECKS},
            leeway=CLOCK_MARGIN_SECONDS,
        )

    def _verified(self, token: str) -> dict[str, Any]:
        named = str(jwt.decode(token, options={"verify_signature": False}).get("iss"))
        issuer = without_slash(named)
        if issuer not in self.issuers:
            raise jwt.InvalidIssuerError(f"its issuer {named[:200]!r} isn't one of {', '.join(self.issuers)}")
        return jwt.decode(
            token,
            self._keys.setdefault(issuer, IssuerKeys(issuer, self.trust)).get_signing_key_from_jwt(token),
            algorithms=["RS256"],
            issuer=named,
            audience=self.audience,
            options={"verify_aud": self.audience is not None, "require": ["exp"], **_CLAIM_CHECKS},
            leeway=CLOCK_MARGIN_SECONDS,
        )


def _caller(claims: dict[str, Any], issuer: str) -> Caller:
    """Both names are part of a key in the table, which has no room for more, and must not be mixed up."""
    # Tokens of early 2025 had it in oidc_extra alone; GHES may still.
    repository = claim_of(claims, "repository_id") or claim_of(claims, "oidc_extra.repository_id") or ""
    if not _REPOSITORY.fullmatch(repository):
        raise Unauthenticated("the token names no repository_id; is it the job's ACTIONS_RUNTIME_TOKEN?")
    if not issuer.isascii() or len(issuer) > MAX_ISSUER_CHARACTERS:
        raise Unauthenticated(f"the token's issuer isn't of at most {MAX_ISSUER_CHARACTERS} ASCII characters")
    name = claim_of(claims, "repository") or claim_of(claims, "oidc_extra.repository")
    known = name if name is not None and is_name(name) else None
    return Caller(qualified(repository, issuer), _scopes(claims.get("ac")), known)


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
