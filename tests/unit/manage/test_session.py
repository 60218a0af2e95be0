"""A session of the page is valid for one role and a limited time, and only with the tokens that it was signed by."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions_cache.domain.access import ManagementTokens, Role
from actions_cache.domain.timing import SECOND
from functions.manage.session import SESSION, Session, decode_session, encode_session, new_session
from tests.unit.domain.build import NOW

TOKENS = ManagementTokens("a" * 64, "b" * 64)


@pytest.mark.parametrize("role", Role)
def test_session_lasts_until_its_last_second(role):
    session = new_session(role, NOW)
    value = encode_session(session, TOKENS)
    assert decode_session(value, NOW, TOKENS) == session == Session(role, NOW + SESSION)
    assert decode_session(value, NOW + SESSION - 1, TOKENS) == session
    assert decode_session(value, NOW + SESSION, TOKENS) is None


def test_session_cannot_be_forged_or_extended():
    for role in Role:
        value = encode_session(new_session(role, NOW), TOKENS)
        assert not {TOKENS.admin, TOKENS.for_reading} & set(value.split("."))
        named, expires, signature = value.split(".")
        assert decode_session(f"{named}.{int(expires) + 1}.{signature}", NOW, TOKENS) is None
    role_of_reader, rest = encode_session(new_session(Role.READ_ONLY, NOW), TOKENS).split(".", 1)
    assert role_of_reader == "read-only"
    assert decode_session(f"admin.{rest}", NOW, TOKENS) is None


@pytest.mark.parametrize("changed", [{"admin": "c" * 64}, {"read_only": "c" * 64}, {"read_only": None}])
@pytest.mark.parametrize("role", Role)
def test_replaced_token_ends_every_session(changed, role):
    value = encode_session(new_session(role, NOW), TOKENS)
    assert decode_session(value, NOW, replace(TOKENS, **changed)) is None


def test_token_is_not_accepted_as_session():
    derived = ManagementTokens("a" * 64)
    for token in (derived.admin, derived.for_reading):
        assert decode_session(token, NOW, derived) is None
        assert decode_session(f"admin.{NOW // SECOND + 60}.{token}", NOW, derived) is None


@given(st.text())
def test_unsigned_session_is_refused(value):
    assert decode_session(value, NOW, TOKENS) is None
