"""Reads a token's claims about its job, in whichever spelling its issuer uses."""

import json
from collections.abc import Mapping
from typing import Any

from actions_cache.domain.errors import Unauthenticated

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
"""Spellings of each claim, by the one that rules are kept under. GitHub documents none of them for runtime tokens;
docs/deploy.md has their sources."""

_CANONICAL = {spelling: claim for claim, spellings in SPELLINGS.items() for spelling in spellings}


def canonical(claim: str) -> str:
    """Return the common name of a claim's spellings; a claim with one spelling is its own."""
    return _CANONICAL.get(claim, claim)


def values_of(claims: Mapping[str, Any], claim: str) -> tuple[str, ...]:
    """Return a token's values of a claim in any of its spellings; empty if it has none.

    An owner has two ids, a number and a node id, and a token may have both.

    Raises:
        Unauthenticated: the spellings contradict each other, which no honest issuer signs.
    """
    spellings = SPELLINGS.get(canonical(claim), (claim,))
    values = tuple(dict.fromkeys(value for it in spellings if (value := claim_of(claims, it))))
    numbers = sum(map(is_number, values))
    has_both_ids = canonical(claim) == OWNER_ID and numbers == 1 == len(values) - numbers
    if len(values) > 1 and not has_both_ids:
        said = " and ".join(repr(value[:100]) for value in values)
        raise Unauthenticated(f"the token contradicts itself: it says {said} for {canonical(claim)}")
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
