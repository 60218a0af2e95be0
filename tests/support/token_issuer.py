"""An issuer of runtime tokens: a server that publishes keys, and signs tokens with any key."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

SCOPES = json.dumps([{"Scope": "refs/pull/7/merge", "Permission": 3}, {"Scope": "refs/heads/main", "Permission": 1}])


class TokenIssuer:
    """Publishes the keys of the last rotation.

    Args:
        path: of its URL, as GHES's has one.
    """

    def __init__(self, path: str = "") -> None:
        self.keys: dict[str, RSAPrivateKey] = {}
        self.requests = 0
        self.answer: bytes | None = None
        """Answer in place of its keys."""
        self.status = 200
        issuer = self

        class Keys(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.requests += 1
                self.send_response(issuer.status if self.path == f"{path}/.well-known/jwks" else 404)
                self.end_headers()
                self.wfile.write(
                    json.dumps({"keys": issuer.published()}).encode() if issuer.answer is None else issuer.answer
                )

            def log_message(self, *_: Any) -> None:
                """Log nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Keys)
        Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}{path}"

    def rotate(self, key_id: str) -> None:
        self.keys = {key_id: generate_private_key(65537, 2048)}

    def published(self) -> list[dict[str, Any]]:
        return [
            json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())) | {"kid": key_id, "use": "sig"}
            for key_id, key in self.keys.items()
        ]

    def sign(
        self, key: Any = None, *, algorithm: str = "RS256", header: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        """Return an `Authorization` header with a signed token.

        Args:
            key: signs it; by default the published one.
            algorithm: of the signature.
            header: fields of the token's header to add or replace.
            claims: to add or replace; None leaves one out.
        """
        now = int(time.time())
        defaults = {"iss": self.url, "exp": now + 600, "nbf": now, "repository_id": "42", "ac": SCOPES}
        [(key_id, own)] = self.keys.items()
        payload = {name: value for name, value in (defaults | claims).items() if value is not None}
        return "Bearer " + jwt.encode(payload, key or own, algorithm, {"kid": key_id} | (header or {}))

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def running_issuer(path: str = "") -> Iterator[TokenIssuer]:
    issuer = TokenIssuer(path)
    issuer.rotate("first")
    try:
        yield issuer
    finally:
        issuer.stop()
