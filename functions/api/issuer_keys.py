"""An issuer's public keys: fetched, kept, and good for a while when the issuer doesn't answer."""

import ssl
import time
from typing import Any

import jwt

CACHED_SECONDS = 300
TIMEOUT_SECONDS = 5

COOLDOWN_SECONDS = 30
"""Between fetches for keys that nobody knows, or made-up key ids would make this server call the issuer each time.
An issuer publishes a new key before it signs with it."""

RETRY_SECONDS = 5
"""Between a fetch that failed and the next: one request waits for an issuer that is down, not each."""

STALE_SECONDS = 24 * 3600
"""How long keys stay good that can't be fetched anew. Longer: an outage of the issuer's is survived longer. Shorter:
a key withdrawn meanwhile is good for less long."""


class IssuerKeys(jwt.PyJWKClient):
    """PyJWT's, but for an issuer's faults: each is a PyJWKClientConnectionError, and known keys outlive it."""

    def __init__(self, issuer: str, trust: ssl.SSLContext | None = None) -> None:
        """Args: trust: whose certificates are good; None: public authorities'."""
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
        """Args: refresh: for a key that isn't among the known ones, which then can't stand in."""
        try:
            keys = super().get_jwk_set(refresh)
        except jwt.PyJWKClientConnectionError:
            if refresh or self._known is None or time.monotonic() - self._known_at > STALE_SECONDS:
                raise
            return self._known
        if keys is not self._known:
            self._known, self._known_at = keys, time.monotonic()
        return keys
