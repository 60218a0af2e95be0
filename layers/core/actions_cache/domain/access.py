"""Who is calling, and which scopes the caller may read and write (WIRE.md section 2)."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actions_cache.domain.errors import PermissionDenied

READ = 1
WRITE = 2

GITHUB = "https://token.actions.githubusercontent.com"
"""The issuer of github.com's tokens, for everybody's jobs there."""

MAX_ISSUER_CHARACTERS = 512
"""It is part of the table's partition key, which has 2,048 bytes."""

_RULE = re.compile(r"(?P<claim>[^=\s]+)=(?P<value>.*?)(?:@(?P<issuer>https?://\S+))?")


@dataclass(frozen=True, slots=True)
class Scope:
    """A ref, with the bits that its token has for it."""

    name: str
    permission: int


@dataclass(frozen=True, slots=True)
class Caller:
    """What a token says.

    Args:
        repository: of one issuer and of no other, see `qualified`.
        scopes: in the order in which they are searched.
        repository_name: `owner/repository`; None where the token doesn't say it.
    """

    repository: str
    scopes: tuple[Scope, ...]
    repository_name: str | None = None

    def readable_scopes(self) -> tuple[str, ...]:
        """Each once: each costs a query.

        Raises: PermissionDenied where there is none; clients know the message by its beginning.
        """
        readable = tuple(dict.fromkeys(scope.name for scope in self.scopes if scope.permission & READ))
        if not readable:
            raise PermissionDenied("cache read denied: the token has no scope that it may read")
        return readable

    def writable_scope(self) -> str:
        """The first one: a token names its own ref before its base and the default branch."""
        for scope in self.scopes:
            if scope.permission & WRITE:
                return scope.name
        raise PermissionDenied("cache write denied: the token has no scope that it may write")


def without_slash(issuer: str) -> str:
    """An issuer's one name: with a slash at its end it is the same."""
    return issuer.rstrip("/")


def qualified(repository_id: str, issuer: str) -> str:
    """A repository's name here: each instance of GitHub counts its repositories from 1 (P8).

    github.com's ids stay bare, as everything is stored that was saved before. No id has an `@`.
    """
    return repository_id if without_slash(issuer) == GITHUB else f"{repository_id}@{without_slash(issuer)}"


@dataclass(frozen=True, slots=True)
class ClaimRule:
    """One value that a claim may have.

    Args:
        claim: its name; `a.b` is `b` in the JSON that the claim `a` holds, as `oidc_extra` does.
        value: compared as text.
        issuer: whose tokens are meant; None for all.
    """

    claim: str
    value: str
    issuer: str | None = None

    @classmethod
    def parse(cls, text: str) -> "ClaimRule":
        """Of `claim=value` or `claim=value@https://issuer`. Raises ValueError."""
        found = _RULE.fullmatch(text)
        if found is None or not found["value"]:
            raise ValueError(f"{text!r} isn't claim=value, or claim=value@https://issuer")
        issuer = found["issuer"]
        return cls(found["claim"], found["value"], None if issuer is None else without_slash(issuer))


def check_claims(rules: Sequence[ClaimRule], issuer: str, claims: Mapping[str, Any]) -> None:
    """Raises PermissionDenied unless each claim that a rule names for this issuer has one of its rules' values."""
    allowed: dict[str, set[str]] = {}
    for rule in rules:
        if rule.issuer in (None, without_slash(issuer)):
            allowed.setdefault(rule.claim, set()).add(rule.value)
    for claim, values in allowed.items():
        value = claim_of(claims, claim)
        if value not in values:
            said = "says nothing of" if value is None else f"says {value[:100]!r} for"
            raise PermissionDenied(
                f"this cache isn't for jobs of this kind: the token {said} {claim}, which isn't among the values that "
                "this server's TOKEN_CLAIMS allows"
            )


def claim_of(claims: Mapping[str, Any], name: str) -> str | None:
    """A claim's value as text, numbers and strings alike; None where there is none. Names: see ClaimRule."""
    if name not in claims and "." in name:
        outer, _, name = name.partition(".")
        try:
            inner = json.loads(claims.get(outer, ""))
        except (TypeError, ValueError, RecursionError):
            return None
        claims = inner if isinstance(inner, dict) else {}
    value = claims.get(name)
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
