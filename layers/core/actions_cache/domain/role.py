"""Who may look at this server, and who may change it. Jobs aren't among them: they come with tokens of their own."""

import hashlib
import hmac
from dataclasses import dataclass, field
from enum import StrEnum


class Role(StrEnum):
    READ_ONLY = "read-only"
    ADMIN = "admin"

    @property
    def may_write(self) -> bool:
        return self is Role.ADMIN


@dataclass(frozen=True, slots=True)
class ManagementTokens:
    """Args: read_only: None for the one that follows from the admin's."""

    admin: str = field(repr=False)
    read_only: str | None = field(default=None, repr=False)

    @property
    def for_reading(self) -> str:
        return self.read_only or read_only_token(self.admin)

    def role_of(self, token: str) -> Role | None:
        """Takes as long for any token: both are always compared, as digests of one length."""
        is_admin, is_reader = _same(token, self.admin), _same(token, self.for_reading)
        if is_admin:
            return Role.ADMIN
        return Role.READ_ONLY if is_reader else None


def read_only_token(admin: str) -> str:
    """Follows from the admin's, and nobody finds that one by it. The same as `openssl dgst -sha256 -hmac`."""
    return hmac.digest(admin.encode(), b"read-only", "sha256").hex()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(_digest(one), _digest(other))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()
