"""A management token has the right role, and reveals no other token."""

import subprocess

import pytest

from actions_cache.domain.access import ManagementTokens, Role, read_only_token

ADMIN = "a" * 64


def test_read_only_token_derives_from_admin_token_or_is_set():
    tokens, configured = ManagementTokens(ADMIN), ManagementTokens(ADMIN, "r" * 32)
    assert tokens.role_of(ADMIN) is Role.ADMIN
    assert tokens.role_of(read_only_token(ADMIN)) is Role.READ_ONLY
    assert configured.role_of("r" * 32) is Role.READ_ONLY
    assert configured.role_of(read_only_token(ADMIN)) is None
    assert {role: role.may_write for role in Role} == {Role.ADMIN: True, Role.READ_ONLY: False}
    assert ADMIN not in repr(configured)
    assert "r" * 32 not in repr(configured)


@pytest.mark.parametrize("token", ["", "a" * 63, "a" * 65, "A" * 64, "read-only", "\ud800", "ä" * 64])
def test_unknown_token_has_no_role(token):
    assert ManagementTokens(ADMIN).role_of(token) is None


def test_openssl_derives_same_read_only_token():
    """docs/operate/management.md tells operators to use it."""
    output = subprocess.run(
        ["openssl", "dgst", "-sha256", "-hmac", ADMIN, "-r"], input=b"read-only", capture_output=True, check=True
    ).stdout.decode()
    assert output.split()[0] == read_only_token(ADMIN)
