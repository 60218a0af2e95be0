"""Verify jobs' tokens, and read from them who calls and what is allowed (docs/design/protocol.md#tokens)."""

import re
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jwt

from actions_cache.domain.access import (
    GITHUB,
    MAX_ISSUER_CHARACTERS,
    READ,
    REPOSITORY,
    REPOSITORY_ID,
    WRITE,
    Caller,
    Rule,
    Scope,
    check_claims,
    json_of,
    qualified,
    values_of,
    without_slash,
)
from actions_cache.domain.budgets import is_name
from actions_cache.domain.errors import TryAgain, Unauthenticated
from actions_cache.domain.refused_job import NotAdmitted, RefusedJob
from actions_cache.settings import CLOCK_MARGIN_SECONDS

if TYPE_CHECKING:
    from jwt.types import Options

MAX_TOKEN_CHARACTERS = 16 * 1024

_CLAIM_CHECKS: "Options" = {"verify_exp": True, "verify_nbf": True, "verify_iat": False}


@dataclass(frozen=True)
class TokenReader:
    """Reads tokens of trusted issuers.

    Args:
        issuers: trusted issuers, without a slash at the end; each publishes its keys at `<issuer>/.well-known/jwks`.
        audience: value that `aud` must name, if set.
        rules: further rules that a token must meet; without any, no token is admitted.
        verify: False only for the local run: claims are checked, signatures aren't.
        trust: authorities whose certificates are accepted where keys are fetched; None for the public ones.
        on_refused: called for each job with a verified token that the rules keep out; must neither block nor raise.
    """

    issuers: Sequence[str]
    audience: str | None
    rules: Sequence[Rule] = ()
    verify: bool = True
    trust: ssl.SSLContext | None = None
    on_refused: Callable[[RefusedJob], None] | None = None
    _keys: dict[str, "IssuerKeys"] = field(default_factory=dict)

    def read(self, authorization: str | None) -> Caller:
        """Return the caller that an `Authorization` header names.

        Raises:
            Unauthenticated: there is no token, it is malformed or expired, or its signature doesn't hold.
            NotAdmitted: the token is good, but this server isn't for its job.
            TryAgain: the issuer's keys can't be fetched now.
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
        issuer = _issuer(claims)
        caller = _caller(claims, issuer)
        try:
            check_claims(self.rules, issuer, claims, self.issuers)
        except NotAdmitted as refusal:
            if self.verify and self.on_refused is not None:
                self.on_refused(refusal.job)
            raise
        return caller

    def _unverified(self, token: str) -> dict[str, Any]:
        """Return an unverified token's claims. It needs no expiry, since its sender could write any."""
        _check_times(_read(token))
        return jwt.decode(
            token,
            options={"verify_signature": False, "verify_aud": False, **_CLAIM_CHECKS},
            leeway=CLOCK_MARGIN_SECONDS,
        )

    def _verified(self, token: str) -> dict[str, Any]:
        claims = _read(token)
        _check_times(claims)
        named = str(claims.get("iss"))
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


def _read(token: str) -> dict[str, Any]:
    """Return a token's claims without checking its signature."""
    return jwt.decode(token, options={"verify_signature": False})


def _check_times(claims: Mapping[str, Any]) -> None:
    """Check that a token's times are numbers: PyJWT also takes strings, which other readers of the token don't.

    Raises:
        jwt.DecodeError: a time isn't a number.
    """
    for name in ("exp", "nbf"):
        value = claims.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise jwt.DecodeError(f"{name} isn't a number")


# ---------------------------------------------------------------- claims

MAX_SCOPES = 64

MAX_SCOPE_CHARACTERS = 1024
"""Git's refs are file names, so they are shorter than this."""

_NUMBER = re.compile("[1-9][0-9]{0,63}")
"""Pattern of github.com's repository ids. They are table keys as they are, beside keys of the store's own."""

_REPOSITORY = re.compile("(?!0$)[A-Za-z0-9_-]{1,64}")
"""Pattern of other issuers' repository ids: none of the characters that separate names in the tables."""

_ISSUER = re.compile(f"[!-~]{{1,{MAX_ISSUER_CHARACTERS}}}")

_SCOPE = re.compile(r"[^\x00-\x1f\x7f-\x9f]*")
"""Pattern of scopes: no control characters, as in Git's refs. Gitea writes the empty one."""


def _issuer(claims: Mapping[str, Any]) -> str:
    """Return the issuer, which becomes part of a table key; github.com if an unverified token names none."""
    named = claims.get("iss") or GITHUB
    if not (isinstance(named, str) and _ISSUER.fullmatch(named)):
        raise Unauthenticated(f"the token's issuer must be text of at most {MAX_ISSUER_CHARACTERS} ASCII characters")
    return named


def _caller(claims: Mapping[str, Any], issuer: str) -> Caller:
    """Return the caller. Repository and issuer become one table key, so neither may hold what separates them."""
    repository = "".join(values_of(claims, REPOSITORY_ID))
    allowed = _NUMBER if without_slash(issuer) == GITHUB else _REPOSITORY
    if not allowed.fullmatch(repository):
        raise Unauthenticated("the token names no repository_id; is it the job's ACTIONS_RUNTIME_TOKEN?")
    name = "".join(values_of(claims, REPOSITORY))
    return Caller(qualified(repository, issuer), _scopes(claims.get("ac")), name if is_name(name) else None)


def _scopes(ac: object) -> tuple[Scope, ...]:
    """Return the scopes of an `ac` claim, a JSON string such as `[{"Scope": "refs/heads/main", "Permission": 3}]`."""
    try:
        rows = json_of(ac)
        scopes = tuple(map(_scope, rows)) if isinstance(rows, list) else ()
    except (ValueError, TypeError, KeyError):
        scopes = ()
    if not 1 <= len(scopes) <= MAX_SCOPES:
        raise Unauthenticated("the token's ac claim isn't a list of scopes; is it the job's ACTIONS_RUNTIME_TOKEN?")
    return scopes


def _scope(row: Any) -> Scope:
    """Return one of a token's scopes. Permission bits that are unknown here are ignored.

    Raises:
        ValueError: it isn't a scope.
        TypeError: likewise.
        KeyError: likewise.
    """
    name, permission = row["Scope"], row["Permission"]
    if not isinstance(name, str) or len(name) > MAX_SCOPE_CHARACTERS or not _SCOPE.fullmatch(name):
        raise ValueError("a scope is a ref")
    name.encode()  # JSON can hold half a surrogate pair, a table can't
    if type(permission) is not int or permission < 0:
        raise ValueError("a permission is a number of bits")
    return Scope(name, permission & (READ | WRITE))


# ---------------------------------------------------------------- issuers' keys

CACHED_SECONDS = 300
"""Seconds until keys are fetched again. Longer: fewer fetches; shorter: a withdrawn key is refused sooner."""

TIMEOUT_SECONDS = 5

COOLDOWN_SECONDS = 30
"""Seconds between fetches for unknown keys; without them, each made-up key id would make this server call the issuer.
An issuer publishes a new key before it signs with it."""

RETRY_SECONDS = 5
"""Seconds between a failed fetch and the next one, so that not every request waits for an issuer that is down."""

STALE_SECONDS = 24 * 3600
"""Seconds that keys stay good when they can't be fetched again. Longer: longer outages of the issuer are survived.
Shorter: a key that was withdrawn meanwhile is accepted for less time."""


class IssuerKeys(jwt.PyJWKClient):
    """PyJWT's client, except that each error of an issuer is a PyJWKClientConnectionError, which known keys outlive."""

    def __init__(self, issuer: str, trust: ssl.SSLContext | None = None) -> None:
        """Make a client.

        Args:
            issuer: its URL.
            trust: authorities whose certificates are accepted; None for the public ones.
        """
        super().__init__(
            f"{issuer.rstrip('/')}/.well-known/jwks",
            lifespan=CACHED_SECONDS,
            timeout=TIMEOUT_SECONDS,
            ssl_context=trust,
            cooldown_duration=COOLDOWN_SECONDS,
        )
        self._known: jwt.PyJWKSet | None = None
        self._known_at = 0.0
        self._failed_at = float("-inf")

    def fetch_data(self) -> Any:
        if time.monotonic() - self._failed_at < RETRY_SECONDS:
            raise jwt.PyJWKClientConnectionError(f"{self.uri} didn't answer a moment ago")
        try:
            return super().fetch_data()
        except (OSError, ValueError, jwt.PyJWKClientError, jwt.PyJWKSetError) as error:
            self._failed_at = time.monotonic()
            raise jwt.PyJWKClientConnectionError(f"{self.uri}: {error}") from error

    def get_jwk_set(self, refresh: bool = False) -> jwt.PyJWKSet:  # noqa: FBT001, FBT002 - PyJWT's signature
        """Return the issuer's keys, or during an outage the known ones.

        Args:
            refresh: True if a key is wanted that isn't among the known ones, which then don't help.
        """
        try:
            keys = super().get_jwk_set(refresh)
        except jwt.PyJWKClientConnectionError:
            if refresh or self._known is None or time.monotonic() - self._known_at > STALE_SECONDS:
                raise
            return self._known
        if keys is not self._known:
            self._known, self._known_at = keys, time.monotonic()
        return keys
