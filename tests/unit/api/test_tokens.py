"""Isolation: which tokens are accepted, with keys served as an issuer serves them."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from actions_cache.domain.access import GITHUB, READ, WRITE, Anybody, Rule, Scope, parse_rule
from actions_cache.domain.errors import PermissionDenied, TryAgain, Unauthenticated
from actions_cache.domain.refused_job import NotAdmitted, RefusedJob
from functions.api import tokens
from functions.api.tokens import TokenReader
from tests.support.token_issuer import TokenIssuer, running_issuer

ANYBODY = (Anybody(),)


@pytest.fixture
def issuer() -> Iterator[TokenIssuer]:
    with running_issuer() as issuer:
        yield issuer


@pytest.fixture
def reader(issuer: TokenIssuer) -> TokenReader:
    return TokenReader((issuer.url,), None, ANYBODY)


def test_token_yields_repository_and_ordered_scopes(issuer, reader):
    caller = reader.read(issuer.sign())
    assert caller.repository == f"42@{issuer.url}"
    assert caller.scopes == (Scope("refs/pull/7/merge", 3), Scope("refs/heads/main", 1))
    assert reader.read(issuer.sign(repository_id=42)).repository == f"42@{issuer.url}", "a number is good too"
    now = int(time.time())
    reader.read(issuer.sign(exp=now - 20))
    reader.read(issuer.sign(nbf=now + 20))


def test_keys_are_refetched_for_unknown_key_id(issuer, reader, monkeypatch):
    monkeypatch.setattr(tokens, "COOLDOWN_SECONDS", 0)
    for _ in range(3):
        reader.read(issuer.sign())
    assert issuer.requests == 1
    issuer.rotate("second")
    assert reader.read(issuer.sign()).repository == f"42@{issuer.url}"
    assert issuer.requests == 2


def signed_with_hmac(issuer: TokenIssuer) -> str:
    """Return a token signed with a secret that everybody knows: the public key. PyJWT refuses to make one."""
    [key] = issuer.keys.values()
    secret = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    _, claims, _ = issuer.sign().removeprefix("Bearer ").split(".")
    header = _base64url(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "first"}).encode())
    signature = _base64url(hmac.digest(secret, f"{header}.{claims}".encode(), hashlib.sha256))
    return f"Bearer {header}.{claims}.{signature}"


def signed_by_a_key_in_the_header(issuer: TokenIssuer) -> str:
    """Return a token whose header holds its key, and addresses of it."""
    own = generate_private_key(65537, 2048)
    jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(own.public_key()))
    return issuer.sign(own, header={"jwk": jwk, "jku": f"{issuer.url}/mine", "x5u": "file:///dev/null"})


def signed_anyhow(issuer: TokenIssuer, **claims: object) -> str:
    """Return a token with claims that PyJWT wouldn't sign."""
    [(key_id, key)] = issuer.keys.items()
    usual = {"iss": issuer.url, "exp": int(time.time()) + 600, "repository_id": "42", "ac": scope()}
    payload = json.dumps(usual | claims).encode()
    return "Bearer " + jwt.api_jws.encode(payload, key, "RS256", {"kid": key_id})


def scope(name: object = "refs/heads/main", permission: object = 3) -> str:
    return json.dumps([{"Scope": name, "Permission": permission}])


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


BAD: dict[str, Callable[[TokenIssuer], str | None]] = {
    "no header": lambda _: None,
    "not bearer": lambda issuer: issuer.sign().replace("Bearer", "Basic"),
    "no token": lambda _: "Bearer ",
    "not a token": lambda _: "Bearer abc.def",
    "endless": lambda _: "Bearer " + "x" * 20_000,
    "expired": lambda issuer: issuer.sign(exp=int(time.time()) - 60),
    "no expiry": lambda issuer: issuer.sign(exp=None),
    "not valid yet": lambda issuer: issuer.sign(nbf=int(time.time()) + 60),
    "another issuer": lambda issuer: issuer.sign(iss="https://elsewhere.example"),
    "no issuer": lambda issuer: issuer.sign(iss=None),
    "signed by another": lambda issuer: issuer.sign(generate_private_key(65537, 2048)),
    "unsigned": lambda issuer: "Bearer " + jwt.encode({"iss": issuer.url, "exp": time.time() + 60}, "", "none"),
    "no repository": lambda issuer: issuer.sign(repository_id=None),
    "endless repository": lambda issuer: issuer.sign(repository_id="4" * 65),
    "another issuer's repository": lambda issuer: issuer.sign(repository_id="42@https://ghes.example"),
    "a repository with a blank": lambda issuer: issuer.sign(repository_id="4 2"),
    "repository 0": lambda issuer: issuer.sign(repository_id=0),
    "a repository that is true": lambda issuer: issuer.sign(repository_id=True),
    "a list of repositories": lambda issuer: issuer.sign(repository_id=["42"]),
    "signed by the public key as a secret": signed_with_hmac,
    "an unknown key": lambda issuer: issuer.sign(header={"kid": "second"}),
    "a key that is a file": lambda issuer: issuer.sign(header={"kid": "../../../dev/null"}),
    "a key of the token's own": signed_by_a_key_in_the_header,
    "no key": lambda issuer: issuer.sign(header={"kid": ""}),
    "no ac": lambda issuer: issuer.sign(ac=None),
    "ac not JSON": lambda issuer: issuer.sign(ac="[{"),
    "ac no string": lambda issuer: issuer.sign(ac=[{"Scope": "a", "Permission": 3}]),
    "ac no list": lambda issuer: issuer.sign(ac="5"),
    "ac empty": lambda issuer: issuer.sign(ac="[]"),
    "ac without permission": lambda issuer: issuer.sign(ac='[{"Scope": "a"}]'),
    "ac with endless permission": lambda issuer: issuer.sign(ac='[{"Scope": "a", "Permission": 1e999}]'),
    "ac with half a character": lambda issuer: issuer.sign(ac='[{"Scope": "\\ud800", "Permission": 3}]'),
    "ac with a negative permission": lambda issuer: issuer.sign(ac=scope(permission=-1)),
    "ac with a permission that is text": lambda issuer: issuer.sign(ac=scope(permission="3")),
    "ac with a permission in blanks": lambda issuer: issuer.sign(ac=scope(permission=" 3 ")),
    "ac with a fullwidth permission": lambda issuer: issuer.sign(ac=scope(permission="\uff13")),
    "ac with a broken permission": lambda issuer: issuer.sign(ac=scope(permission=2.9)),
    "ac with a permission that is true": lambda issuer: issuer.sign(ac=scope(permission=True)),
    "ac with a scope that is a number": lambda issuer: issuer.sign(ac=scope(5)),
    "ac with a scope that is a list": lambda issuer: issuer.sign(ac=scope(["refs/heads/main"])),
    "ac with a control character": lambda issuer: issuer.sign(ac=scope("refs/heads/a\nb")),
    "ac with a delete character": lambda issuer: issuer.sign(ac=scope("refs/heads/a\x7f")),
    "ac with an endless scope": lambda issuer: issuer.sign(ac=scope("x" * 1025)),
    "ac with a scope named twice": lambda issuer: issuer.sign(ac='[{"Scope":"a","Scope":"b","Permission":3}]'),
    "ac with a permission named twice": lambda issuer: issuer.sign(ac='[{"Scope":"a","Permission":1,"Permission":3}]'),
    "ac an object": lambda issuer: issuer.sign(ac='{"Scope": "a", "Permission": 3}'),
    "ac with a scope that is text": lambda issuer: issuer.sign(ac='["refs/heads/main"]'),
    "an expiry that is text": lambda issuer: issuer.sign(exp=str(int(time.time()) + 600)),
    "an expiry that is true": lambda issuer: issuer.sign(exp=True),
    "an endless expiry": lambda issuer: issuer.sign(exp=float("inf")),
    "a beginning that is text": lambda issuer: issuer.sign(nbf="0"),
    "a list of issuers": lambda issuer: signed_anyhow(issuer, iss=[issuer.url]),
    "repository *": lambda issuer: issuer.sign(repository_id="*"),
    "repository a#b": lambda issuer: issuer.sign(repository_id="a#b"),
    "a repository's name for its id": lambda issuer: issuer.sign(repository_id="name#a/b"),
    "a fullwidth repository": lambda issuer: issuer.sign(repository_id="\uff14\uff12"),
    "a repository that is broken": lambda issuer: issuer.sign(repository_id=42.0),
    "two repositories": lambda issuer: issuer.sign(oidc_extra='{"repository_id":"43"}'),
    "ac too deep": lambda issuer: issuer.sign(ac="[" * 5000 + "]" * 5000),
}


@pytest.mark.parametrize("token", BAD.values(), ids=BAD)
def test_bad_token_is_refused(issuer, reader, token):
    with pytest.raises(Unauthenticated):
        reader.read(token(issuer))


def test_audience_is_checked_if_configured(issuer):
    reader = TokenReader((issuer.url,), "actions-cache", ANYBODY)
    reader.read(issuer.sign(aud="actions-cache"))
    for wrong in ({}, {"aud": "other"}):
        with pytest.raises(Unauthenticated):
            reader.read(issuer.sign(**wrong))


def test_unverified_token_claims_still_count(issuer):
    reader = TokenReader((), None, ANYBODY, verify=False)
    assert reader.read(issuer.sign(generate_private_key(65537, 2048), iss=GITHUB)).repository == "42"
    # The end-to-end tests of falcondev-oss/github-actions-cache-server, for one, sign tokens without any of these.
    assert reader.read(issuer.sign(exp=None, nbf=None, iss=None)).repository == "42"
    for wrong in ({"exp": 1}, {"nbf": 2**40}, {"ac": None}, {"repository_id": None}):
        with pytest.raises(Unauthenticated):
            reader.read(issuer.sign(**wrong))
    with pytest.raises(PermissionDenied, match="'9' for repository_owner_id"):
        TokenReader((), None, rules("owner_id=7"), verify=False).read(issuer.sign(owner_id="9"))


def test_repository_id_is_found_in_oidc_claims(issuer, reader):
    extra = json.dumps({"repository_id": "43"})
    assert reader.read(issuer.sign(repository_id=None, oidc_extra=extra)).repository == f"43@{issuer.url}"
    assert reader.read(issuer.sign(repository_id=43, oidc_extra=extra)).repository == f"43@{issuer.url}"
    with pytest.raises(Unauthenticated, match="contradicts itself: it says '42' and '43' for repository_id"):
        reader.read(issuer.sign(oidc_extra=extra))


def test_issuer_signs_only_its_own_tokens(issuer):
    """GHES's issuers have a path; a slash at the end, in the token or in the setting, makes no other."""
    with running_issuer("/_services/token") as ghes:
        reader = TokenReader((issuer.url, ghes.url), None, ANYBODY)
        assert reader.read(issuer.sign()).repository == f"42@{issuer.url}"
        assert reader.read(ghes.sign()).repository == f"42@{ghes.url}"
        assert reader.read(ghes.sign(iss=f"{ghes.url}/")).repository == f"42@{ghes.url}"
        others_key = next(iter(ghes.keys.values()))
        for forged in (ghes.sign(iss=issuer.url), issuer.sign(others_key), ghes.sign(iss=ghes.url.upper())):
            with pytest.raises(Unauthenticated):
                reader.read(forged)
        assert (issuer.requests, ghes.requests) == (1, 1)


def test_github_com_repositories_keep_bare_ids(issuer):
    unverified = TokenReader((), None, ANYBODY, verify=False)
    assert unverified.read(issuer.sign(iss=GITHUB)).repository == "42"
    assert unverified.read(issuer.sign(iss=f"{GITHUB}/")).repository == "42"
    assert unverified.read(issuer.sign(iss=None)).repository == "42"
    assert unverified.read(issuer.sign(iss=f"{GITHUB}.example")).repository == f"42@{GITHUB}.example"


@pytest.mark.parametrize("wrong", ["*", "a#b", "name#a/b", "042", "0", "-1", "+1", "4a", "a", "\uff14\uff12", "4" * 65])
def test_github_com_repository_id_is_numeric(issuer, wrong):
    """Ids are table keys as they are, beside keys of the store's own."""
    reader = TokenReader((), None, ANYBODY, verify=False)
    assert reader.read(issuer.sign(iss=GITHUB, repository_id="1")).repository == "1"
    with pytest.raises(Unauthenticated, match="no repository_id"):
        reader.read(issuer.sign(iss=GITHUB, repository_id=wrong))


NO_ISSUERS = [
    ["https://a.example"],
    5,
    "https://a.example\n",
    {"a": 1},
    "https://" + "x" * 505,
    "https://\u00e4.example",
]


@pytest.mark.parametrize("wrong", NO_ISSUERS, ids=str)
def test_unverified_issuer_must_be_one_short_line(issuer, wrong):
    reader = TokenReader((), None, ANYBODY, verify=False)
    with pytest.raises(Unauthenticated, match="512 ASCII"):
        reader.read(signed_anyhow(issuer, iss=wrong))


@pytest.mark.parametrize(("permission", "bits"), [(0, 0), (1, 1), (2, 2), (3, 3), (4, 0), (7, 3), (2**40, 0)])
def test_unknown_permission_bits_are_ignored(issuer, reader, permission, bits):
    assert reader.read(issuer.sign(ac=scope(permission=permission))).scopes == (Scope("refs/heads/main", bits),)


def test_scopes_are_combined_and_of_any_length(issuer, reader):
    twice = json.dumps([{"Scope": "a", "Permission": READ}, {"Scope": "a", "Permission": READ | WRITE}])
    caller = reader.read(issuer.sign(ac=twice))
    assert (caller.readable_scopes(), caller.writable_scope()) == (("a",), "a")
    for name in ("", "x" * 1024, "refs/heads/\u00e4 \U0001f600"):
        assert reader.read(issuer.sign(ac=scope(name))).readable_scopes() == (name,)


# ---------------------------------------------------------------- a failing issuer


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Put the clock of PyJWT and of the keys ahead by some seconds."""
    real = time.monotonic

    def ahead(seconds: float) -> None:
        monkeypatch.setattr(time, "monotonic", lambda: real() + seconds)

    return ahead


FAILURES: dict[str, Callable[[TokenIssuer], None]] = {
    "fails": lambda issuer: setattr(issuer, "status", 500),
    "moved": lambda issuer: setattr(issuer, "status", 302),
    "sends no JSON": lambda issuer: setattr(issuer, "answer", b"<html>"),
    "sends no text": lambda issuer: setattr(issuer, "answer", b"\xff"),
    "sends no keys": lambda issuer: setattr(issuer, "answer", b"[]"),
    "has no keys": lambda issuer: setattr(issuer, "answer", b'{"keys": []}'),
    "is gone": lambda issuer: issuer.stop(),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_cached_keys_outlast_issuer_outage(failure, now):
    with running_issuer() as issuer:
        reader = TokenReader((issuer.url,), None, ANYBODY)
        reader.read(issuer.sign())
        failure(issuer)
        now(tokens.CACHED_SECONDS + 1)
        assert reader.read(issuer.sign()).repository == f"42@{issuer.url}"
        now(tokens.STALE_SECONDS + 60)
        for without_keys in (reader, TokenReader((issuer.url,), None, ANYBODY)):
            with pytest.raises(TryAgain):
                without_keys.read(issuer.sign())


def test_unknown_key_during_outage_is_retryable(issuer, reader, now):
    reader.read(issuer.sign())
    issuer.status = 500
    now(tokens.COOLDOWN_SECONDS + 1)
    with pytest.raises(TryAgain):
        reader.read(issuer.sign(header={"kid": "second"}))


def test_failing_issuer_is_asked_once(issuer, reader, now):
    issuer.status = 500
    for _ in range(3):
        with pytest.raises(TryAgain):
            reader.read(issuer.sign())
    assert issuer.requests == 1
    issuer.status = 200
    now(tokens.RETRY_SECONDS + 1)
    reader.read(issuer.sign())


def test_invented_key_ids_cause_no_refetch(issuer, reader):
    reader.read(issuer.sign())
    for number in range(3):
        with pytest.raises(Unauthenticated):
            reader.read(issuer.sign(header={"kid": f"made up {number}"}))
    assert issuer.requests == 1


# ---------------------------------------------------------------- admission: rules are in tests/unit/domain


def rules(*texts: str) -> tuple[Rule, ...]:
    return tuple(parse_rule(text) for text in texts)


@pytest.mark.parametrize(
    ("listed", "claims", "is_admitted"),
    [
        (["repository_owner_id=7"], {"repository_owner_id": "7"}, True),
        (["repository_owner_id=7"], {"repository_owner_id": 7}, True),
        (["repository_owner_id=7"], {"owner_id": "7"}, True),
        (["repository_owner_id=7"], {"oidc_extra": '{"repository_owner_id":"7"}'}, True),
        (["owner_id=O_kgDOA"], {"repository_owner_id": "7", "owner_id": "O_kgDOA"}, True),
        (["owner_id=7"], {"repository_owner_id": "7", "owner_id": "O_kgDOA"}, True),
        (["owner_id=7"], {"owner_id": "77"}, False),
        (["owner_id=7"], {}, False),
        (["owner_id=True"], {"owner_id": True}, False),
        (["any"], {}, True),
        ([], {"owner_id": "7"}, False),
    ],
    ids=str,
)
def test_token_is_admitted_by_its_claims(issuer, listed, claims, is_admitted):
    reader = TokenReader((issuer.url,), None, rules(*listed))
    if is_admitted:
        reader.read(issuer.sign(**claims))
        return
    with pytest.raises(PermissionDenied, match=r"^cache read denied: this cache isn't for jobs of repository 42"):
        reader.read(issuer.sign(**claims))


def test_rules_apply_to_their_issuer_only(issuer):
    """Each issuer counts from 1, and a token of an issuer without a rule isn't admitted."""
    with running_issuer("/_services/token") as ghes:
        reader = TokenReader((issuer.url, ghes.url), None, rules(f"repository_id=42@{ghes.url}"))
        reader.read(ghes.sign())
        with pytest.raises(NotAdmitted, match=f"names no job of {issuer.url}"):
            reader.read(issuer.sign())
        with pytest.raises(NotAdmitted):
            reader.read(issuer.sign(repository_id="999"))
        reader = TokenReader((issuer.url, ghes.url), None, rules(f"any@{issuer.url}"))
        reader.read(issuer.sign(repository_id="999"))
        with pytest.raises(NotAdmitted):
            reader.read(ghes.sign())


def test_only_verified_refused_jobs_are_reported(issuer):
    reported: list[RefusedJob] = []
    reader = TokenReader((issuer.url,), None, rules("repository_id=1"), on_refused=reported.append)
    strangers = issuer.sign(generate_private_key(65537, 2048))
    for bad in (strangers, issuer.sign(exp=1), issuer.sign(ac="[]"), "Bearer a.b.c"):
        with pytest.raises(Unauthenticated):
            reader.read(bad)
    reader.read(issuer.sign(repository_id=1))
    unverified = TokenReader((), None, rules("repository_id=1"), verify=False, on_refused=reported.append)
    with pytest.raises(NotAdmitted):
        unverified.read(issuer.sign())
    assert reported == []
    with pytest.raises(NotAdmitted):
        reader.read(issuer.sign(oidc_extra='{"repository":"octo/app","repository_owner":"octo"}', owner_id="O_x"))
    assert reported == [RefusedJob(issuer.url, "42", "octo/app", "O_x", "octo", ("repository_id=42",))]


UNREADABLE = ["[" * 4000 + "]" * 4000, '{"repository_id":' * 400, "{", 7, '{"repository_id":"1","repository_id":"1"}']


@pytest.mark.parametrize("extra", UNREADABLE, ids=["deep", "deep objects", "broken", "a number", "named twice"])
def test_unreadable_oidc_claims_are_ignored(issuer, reader, extra):
    assert reader.read(issuer.sign(oidc_extra=extra)).repository == f"42@{issuer.url}"
    with pytest.raises(Unauthenticated, match="no repository_id"):
        reader.read(issuer.sign(repository_id=None, oidc_extra=extra))
