"""P8: whose tokens come in, with keys served the way an issuer serves them."""

import json
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from actions_cache.domain.access import Scope
from actions_cache.domain.errors import TryAgain, Unauthenticated
from functions.api import tokens
from functions.api.tokens import TokenReader

SCOPES = json.dumps([{"Scope": "refs/pull/7/merge", "Permission": 3}, {"Scope": "refs/heads/main", "Permission": 1}])


class Issuer:
    """Publishes the keys that it was last told to have, and signs with any."""

    def __init__(self) -> None:
        self.keys: dict[str, RSAPrivateKey] = {}
        self.requests = 0
        issuer = self

        class Keys(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.requests += 1
                self.send_response(200 if self.path == "/.well-known/jwks" else 404)
                self.end_headers()
                self.wfile.write(json.dumps({"keys": issuer.published()}).encode())

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Keys)
        Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def rotate(self, key_id: str) -> None:
        self.keys = {key_id: generate_private_key(65537, 2048)}

    def published(self) -> list[dict[str, Any]]:
        return [
            json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())) | {"kid": key_id, "use": "sig"}
            for key_id, key in self.keys.items()
        ]

    def sign(self, key: RSAPrivateKey | None = None, **claims: Any) -> str:
        now = int(time.time())
        defaults = {"iss": self.url, "exp": now + 600, "nbf": now, "repository_id": "42", "ac": SCOPES}
        [(key_id, own)] = self.keys.items()
        payload = {name: value for name, value in (defaults | claims).items() if value is not None}
        return "Bearer " + jwt.encode(payload, key or own, "RS256", {"kid": key_id})


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    issuer.rotate("first")
    yield issuer
    issuer.server.shutdown()
    issuer.server.server_close()


@pytest.fixture
def reader(issuer: Issuer) -> TokenReader:
    return TokenReader((issuer.url,), None, verify=True)


def test_a_good_token_says_the_repository_and_its_scopes_in_order(issuer, reader):
    caller = reader.read(issuer.sign())
    assert caller.repository == "42"
    assert caller.scopes == (Scope("refs/pull/7/merge", 3), Scope("refs/heads/main", 1))


def test_keys_are_fetched_once_and_again_when_an_unknown_one_signed(issuer, reader, monkeypatch):
    monkeypatch.setattr(tokens, "JWKS_COOLDOWN_SECONDS", 0)
    for _ in range(3):
        reader.read(issuer.sign())
    assert issuer.requests == 1
    issuer.rotate("second")
    assert reader.read(issuer.sign()).repository == "42"
    assert issuer.requests == 2


BAD: dict[str, Callable[[Issuer], str | None]] = {
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
    "no ac": lambda issuer: issuer.sign(ac=None),
    "ac not JSON": lambda issuer: issuer.sign(ac="[{"),
    "ac no string": lambda issuer: issuer.sign(ac=[{"Scope": "a", "Permission": 3}]),
    "ac no list": lambda issuer: issuer.sign(ac="5"),
    "ac empty": lambda issuer: issuer.sign(ac="[]"),
    "ac without permission": lambda issuer: issuer.sign(ac='[{"Scope": "a"}]'),
    "ac with endless permission": lambda issuer: issuer.sign(ac='[{"Scope": "a", "Permission": 1e999}]'),
    "ac with half a character": lambda issuer: issuer.sign(ac='[{"Scope": "\\ud800", "Permission": 3}]'),
    "ac too deep": lambda issuer: issuer.sign(ac="[" * 5000 + "]" * 5000),
}


@pytest.mark.parametrize("token", BAD.values(), ids=BAD)
def test_a_bad_token_is_refused(issuer, reader, token):
    with pytest.raises(Unauthenticated):
        reader.read(token(issuer))


def test_a_clock_that_is_half_a_minute_off_is_forgiven(issuer, reader):
    now = int(time.time())
    reader.read(issuer.sign(exp=now - 20))
    reader.read(issuer.sign(nbf=now + 20))


def test_the_audience_counts_where_one_is_set(issuer):
    reader = TokenReader((issuer.url,), "actions-cache", verify=True)
    reader.read(issuer.sign(aud="actions-cache"))
    for wrong in ({}, {"aud": "other"}):
        with pytest.raises(Unauthenticated):
            reader.read(issuer.sign(**wrong))


def test_an_issuer_that_does_not_answer_is_no_fault_of_the_token(issuer):
    gone = "http://127.0.0.1:1"
    with pytest.raises(TryAgain):
        TokenReader((gone,), None, verify=True).read(issuer.sign(iss=gone))


def test_without_verification_claims_still_count(issuer):
    reader = TokenReader((), None, verify=False)
    assert reader.read(issuer.sign(generate_private_key(65537, 2048))).repository == "42"
    for wrong in ({"exp": 1}, {"nbf": 2**40}, {"ac": None}, {"repository_id": None}, {"exp": None}):
        with pytest.raises(Unauthenticated):
            reader.read(issuer.sign(**wrong))
