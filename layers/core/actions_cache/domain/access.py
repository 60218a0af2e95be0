"""Decide which jobs and which people are admitted, and what they may do (docs/design/protocol.md#tokens)."""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from actions_cache.domain.budgets import is_name
from actions_cache.domain.entry_class import EntryClass, class_of
from actions_cache.domain.errors import PermissionDenied, Unauthenticated
from actions_cache.domain.refused_job import NotAdmitted, RefusedJob

READ = 1
WRITE = 2

GITHUB = "https://token.actions.githubusercontent.com"
"""Issuer of the tokens of all jobs on github.com."""

MAX_ISSUER_CHARACTERS = 512
"""Maximum length of an issuer, which is part of the table's partition key; that may have 2,048 bytes."""

ANY = "any"
"""Rule of TOKEN_CLAIMS that admits everybody."""

_ISSUER = r"(?:@(?P<issuer>https?://\S+))?"
_ANYBODY = re.compile(ANY + _ISSUER)
_RULE = re.compile(r"(?P<claim>[^=\s]+)=(?P<value>.*?)" + _ISSUER)

_PLAIN = re.compile(r"[A-Za-z0-9_.:/=+@-]{1,1000}")
"""Values that are proposed to operators, who paste them into a shell; jobs choose the values of some claims."""

_OWNER = re.compile(r"[A-Za-z0-9_.=+/-]{1,100}")
"""An owner's name, or one of its ids."""

REPOSITORY_ID = "repository_id"
OWNER_ID = "repository_owner_id"
REPOSITORY = "repository"
OWNER = "repository_owner"

SPELLINGS: Mapping[str, tuple[str, ...]] = {
    REPOSITORY_ID: ("repository_id", "oidc_extra.repository_id"),
    OWNER_ID: ("repository_owner_id", "owner_id", "oidc_extra.repository_owner_id", "oidc_extra.owner_id"),
    REPOSITORY: ("repository", "oidc_extra.repository"),
    OWNER: ("repository_owner", "owner", "oidc_extra.repository_owner", "oidc_extra.owner"),
}
"""Spellings of each claim, by the canonical one. GitHub documents none of them for runtime tokens;
docs/deploy/deploy.md has their sources."""

_CANONICAL = {spelling: claim for claim, spellings in SPELLINGS.items() for spelling in spellings}


@dataclass(frozen=True, slots=True)
class Scope:
    """Names a ref, with the token's permission bits for it."""

    name: str
    permission: int


@dataclass(frozen=True, slots=True)
class Caller:
    """Describes a job by its token.

    Args:
        repository: unique among all issuers, see `qualified`.
        scopes: in the order in which they are searched.
        repository_name: `owner/repository`; None if the token doesn't name it.
    """

    repository: str
    scopes: tuple[Scope, ...]
    repository_name: str | None = None

    def readable_scopes(self) -> tuple[str, ...]:
        """Return the readable scopes, each once since each costs a query.

        Raises:
            PermissionDenied: there are none. Clients recognize the message by its beginning.
        """
        readable = tuple(dict.fromkeys(scope.name for scope in self.scopes if scope.permission & READ))
        if not readable:
            raise PermissionDenied("cache read denied: the token has no scope that it may read")
        return readable

    def writable_scope(self) -> str:
        """Return the first writable scope: a token names its own ref before its base and the default branch.

        Raises:
            PermissionDenied: there is none. Clients recognize the message by its beginning.
        """
        for scope in self.scopes:
            if scope.permission & WRITE:
                return scope.name
        raise PermissionDenied("cache write denied: the token has no scope that it may write")

    def written_class(self) -> EntryClass:
        """Return the class of what this job saves.

        Raises:
            PermissionDenied: the token may write no scope.
        """
        return class_of(self.writable_scope(), [scope.name for scope in self.scopes])


def without_slash(issuer: str) -> str:
    """Return the issuer's canonical name; with a slash at its end it is the same issuer."""
    return issuer.rstrip("/")


def qualified(repository_id: str, issuer: str) -> str:
    """Return a repository's id here, unique among all issuers: each instance of GitHub counts its ids from 1.

    github.com's ids stay bare, since older releases stored them so. No id contains an `@`.
    """
    return repository_id if without_slash(issuer) == GITHUB else f"{repository_id}@{without_slash(issuer)}"


@dataclass(frozen=True, slots=True)
class ClaimRule:
    """Allows a claim one value.

    Args:
        claim: its canonical name.
        value: compared as text.
        issuer: issuer of the tokens that the rule is for; None for all.
    """

    claim: str
    value: str
    issuer: str | None = None

    def __str__(self) -> str:
        return f"{self.claim}={self.value}{_suffix(self.issuer)}"


@dataclass(frozen=True, slots=True)
class Anybody:
    """Admits every job of an issuer, or of all issuers if it is None."""

    issuer: str | None = None

    def __str__(self) -> str:
        return f"{ANY}{_suffix(self.issuer)}"


Rule = ClaimRule | Anybody


def parse_rule(text: str) -> Rule:
    """Parse one rule of TOKEN_CLAIMS.

    Raises:
        ValueError: it isn't `claim=value` or `any`, with or without `@https://issuer`.
    """
    if found := _ANYBODY.fullmatch(text):
        return Anybody(_issuer_of(found))
    found = _RULE.fullmatch(text)
    if found is None or not found["value"]:
        raise ValueError(f"{text!r} isn't claim=value, claim=value@https://issuer, any or any@https://issuer")
    claim = canonical(found["claim"])
    if claim in SPELLINGS and "@" in found["value"]:
        raise ValueError(f"{text!r}: an issuer is a URL, as in {claim}=value@https://issuer")
    return ClaimRule(claim, found["value"], _issuer_of(found))


def check_rules(rules: Sequence[Rule], issuers: Sequence[str]) -> None:
    """Check that rules are unambiguous and name trusted issuers.

    Raises:
        ValueError: they name another issuer, have both `any` and a claim for one issuer, or have an id without an
            issuer where there are several.
    """
    for rule in rules:
        if rule.issuer is not None and rule.issuer not in issuers:
            raise ValueError(
                f"TOKEN_CLAIMS names {rule.issuer}, which isn't in TOKEN_ISSUERS: {', '.join(issuers)}. "
                "Write it as it stands there, or leave it out for all issuers."
            )
        if len(issuers) > 1 and rule.issuer is None and isinstance(rule, ClaimRule) and _is_counted(rule.claim):
            raise ValueError(
                f"TOKEN_CLAIMS has {rule} and TOKEN_ISSUERS has {len(issuers)} issuers: each gives its own ids and "
                f"names, so another's job could have this one. Say whose it is, as in {rule}@{issuers[0]}"
            )
    for issuer in issuers:
        named, lets_anybody_in = _rules_for(rules, issuer)
        if named and lets_anybody_in:
            raise ValueError(
                f"TOKEN_CLAIMS contradicts itself: it lets in anybody of {issuer}, and has {named[0]} for it too. "
                "Remove one of them, or write any@https://issuer for the issuers that are meant."
            )


def check_claims(rules: Sequence[Rule], issuer: str, claims: Mapping[str, Any], issuers: Sequence[str] = ()) -> None:
    """Check that a job is admitted: each claim that has rules for its issuer must match one of them.

    Args:
        rules: those of TOKEN_CLAIMS. An issuer without any admits nobody.
        issuer: the token's.
        claims: the token's.
        issuers: all trusted issuers; where there are several, proposed rules name the token's.

    Raises:
        NotAdmitted: the job isn't admitted.
        Unauthenticated: the claims contradict each other.
    """
    named, lets_anybody_in = _rules_for(rules, issuer)
    if not named:
        if lets_anybody_in:
            return
        of_issuer = f" of {without_slash(issuer)}" if len(issuers) > 1 else ""
        why = f"its TOKEN_CLAIMS names no job{of_issuer}"
        proposed = [[REPOSITORY_ID], [OWNER_ID]]
    else:
        allowed: dict[str, set[str]] = {}
        for rule in named:
            allowed.setdefault(rule.claim, set()).add(rule.value)
        lacking = [claim for claim, values in allowed.items() if values.isdisjoint(values_of(claims, claim))]
        if not lacking:
            return
        why = f"the token {_claim_text(claims, lacking[0])}, which its TOKEN_CLAIMS doesn't allow"
        # Only claims that have rules already: a rule for a further claim would shut others out.
        proposed = [lacking]
    scope = without_slash(issuer) if len(issuers) > 1 else None
    to_admit = tuple(text for claims_of_one in proposed if (text := _proposal(claims, claims_of_one, scope)))
    job = _refused(issuer, claims, to_admit)
    what_to_do = f"to add {to_admit[0]} to TOKEN_CLAIMS" if to_admit else "which rule of TOKEN_CLAIMS would admit it"
    raise NotAdmitted(f"this cache isn't for jobs of {job.called}: {why}. Ask its operator {what_to_do}", job)


def _rules_for(rules: Sequence[Rule], issuer: str) -> tuple[list[ClaimRule], bool]:
    """Return an issuer's claim rules, and whether everybody of it is admitted."""
    own = [rule for rule in rules if rule.issuer in (None, without_slash(issuer))]
    return [rule for rule in own if isinstance(rule, ClaimRule)], any(isinstance(rule, Anybody) for rule in own)


def _is_counted(claim: str) -> bool:
    """Return whether each instance assigns the claim's values itself: counted from 1, or first come, first served."""
    return claim in SPELLINGS or claim.endswith("_id")


def _claim_text(claims: Mapping[str, Any], claim: str) -> str:
    values = values_of(claims, claim)
    return f"says {values[0][:100]!r} for {claim}" if values else f"says nothing of {claim}"


def _proposal(claims: Mapping[str, Any], lacking: Sequence[str], issuer: str | None) -> str:
    """Return the rules that would admit a job as far as these claims go; empty if no rule can be written."""
    rules = [ClaimRule(claim, value, issuer) for claim in lacking if (value := _best(claims, claim))]
    texts = [str(rule) for rule in rules if _PLAIN.fullmatch(str(rule)) and parse_rule(str(rule)) == rule]
    return ",".join(texts) if len(texts) == len(lacking) else ""


def _refused(issuer: str, claims: Mapping[str, Any], to_admit: tuple[str, ...]) -> RefusedJob:
    name, owner, owner_id = (_best(claims, claim) for claim in (REPOSITORY, OWNER, OWNER_ID))
    return RefusedJob(
        without_slash(issuer),
        _best(claims, REPOSITORY_ID) or "",
        name if name is not None and is_name(name) else None,
        owner_id if owner_id is not None and _OWNER.fullmatch(owner_id) else None,
        owner if owner is not None and _OWNER.fullmatch(owner) else None,
        to_admit,
    )


def _best(claims: Mapping[str, Any], claim: str) -> str | None:
    """Return the number where a token has a number and a node id; None where it contradicts itself."""
    try:
        values = values_of(claims, claim)
    except Unauthenticated:
        return None
    return next((value for value in values if is_number(value)), values[0] if values else None)


def _suffix(issuer: str | None) -> str:
    return "" if issuer is None else f"@{issuer}"


def _issuer_of(found: re.Match[str]) -> str | None:
    issuer = found["issuer"]
    return None if issuer is None else without_slash(issuer)


def canonical(claim: str) -> str:
    """Return the canonical name of a claim; a claim with one spelling is its own."""
    return _CANONICAL.get(claim, claim)


def values_of(claims: Mapping[str, Any], claim: str) -> tuple[str, ...]:
    """Return a token's values of a claim in any of its spellings; empty if it has none.

    An owner has two ids, a number and a node id, and a token may have both.

    Raises:
        Unauthenticated: the spellings contradict each other, which no honest issuer signs.
    """
    spellings = SPELLINGS.get(canonical(claim), (claim,))
    values = tuple(dict.fromkeys(value for spelling in spellings if (value := claim_of(claims, spelling))))
    numbers = sum(map(is_number, values))
    has_both_ids = canonical(claim) == OWNER_ID and numbers == 1 == len(values) - numbers
    if len(values) > 1 and not has_both_ids:
        contradiction = " and ".join(repr(value[:100]) for value in values)
        raise Unauthenticated(f"the token contradicts itself: it says {contradiction} for {canonical(claim)}")
    return values


def claim_of(claims: Mapping[str, Any], name: str) -> str | None:
    """Return a claim's value as text, be it a number or a string; None if it is missing or of another kind.

    Args:
        claims: a token's.
        name: `a.b` means `b` in the JSON that the claim `a` holds, as `oidc_extra` does.
    """
    if name not in claims and "." in name:
        outer, _, name = name.partition(".")
        try:
            inner = json_of(claims.get(outer))
        except ValueError:
            return None
        claims = inner if isinstance(inner, dict) else {}
    value = claims.get(name)
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


def json_of(text: object) -> Any:
    """Return the value of a claim that holds JSON.

    Raises:
        ValueError: it isn't a string, isn't JSON, is nested too deeply, or has a key twice, which readers resolve
            differently.
    """
    if not isinstance(text, str):
        raise ValueError("not a string")  # noqa: TRY004 - one exception for all that can be wrong with it
    try:
        return json.loads(text, object_pairs_hook=_each_once)
    except RecursionError as error:
        raise ValueError("too deep") from error


def is_number(value: str) -> bool:
    return value.isascii() and value.isdecimal()


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is named twice")
    return found


# ---------------------------------------------------------------- management tokens


class Role(StrEnum):
    READ_ONLY = "read-only"
    ADMIN = "admin"

    @property
    def may_write(self) -> bool:
        return self is Role.ADMIN


@dataclass(frozen=True, slots=True)
class ManagementTokens:
    """Holds the management tokens.

    Args:
        read_only: None for the one that is derived from the admin's.
    """

    admin: str = field(repr=False)
    read_only: str | None = field(default=None, repr=False)

    @property
    def for_reading(self) -> str:
        return self.read_only or read_only_token(self.admin)

    def role_of(self, token: str) -> Role | None:
        """Return the role of a token's bearer, or None if the token is neither.

        Both are always compared, as digests of the same length: so the time that it takes reveals nothing.
        """
        is_admin, is_reader = _same(token, self.admin), _same(token, self.for_reading)
        if is_admin:
            return Role.ADMIN
        return Role.READ_ONLY if is_reader else None


def read_only_token(admin: str) -> str:
    """Derive the read-only token from the admin's, as `openssl dgst -sha256 -hmac` does; the way back is infeasible."""
    return hmac.digest(admin.encode(), b"read-only", "sha256").hex()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(_digest(one), _digest(other))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()
