"""Sessions of the page: good for one role and one while, and only with the tokens that they were begun by."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions_cache.domain.access import ManagementTokens, Role
from actions_cache.domain.timing import SECOND
from functions.manage.session import SESSION, Session, begun, opened, sealed
from tests.unit.domain.build import NOW

TOKENS = ManagementTokens("a" * 64, "b" * 64)


@pytest.mark.parametrize("role", Role)
def test_a_session_is_its_role_s_until_its_last_second(role):
    session = begun(role, NOW)
    value = sealed(session, TOKENS)
    assert opened(value, NOW, TOKENS) == session == Session(role, NOW + SESSION)
    assert opened(value, NOW + SESSION - 1, TOKENS) == session
    assert opened(value, NOW + SESSION, TOKENS) is None


def test_no_token_stands_in_the_cookie():
    value = sealed(begun(Role.ADMIN, NOW), TOKENS)
    assert TOKENS.admin not in value
    assert TOKENS.for_reading not in value


def test_a_reader_can_not_make_an_admin_s_session_of_its_own():
    role, rest = sealed(begun(Role.READ_ONLY, NOW), TOKENS).split(".", 1)
    assert role == "read-only"
    assert opened(f"admin.{rest}", NOW, TOKENS) is None


def test_a_session_can_not_be_prolonged():
    role, expires, signature = sealed(begun(Role.ADMIN, NOW), TOKENS).split(".")
    assert opened(f"{role}.{int(expires) + 1}.{signature}", NOW, TOKENS) is None


@pytest.mark.parametrize("changed", [{"admin": "c" * 64}, {"read_only": "c" * 64}, {"read_only": None}])
@pytest.mark.parametrize("role", Role)
def test_a_replaced_token_ends_every_session(changed, role):
    value = sealed(begun(role, NOW), TOKENS)
    assert opened(value, NOW, replace(TOKENS, **changed)) is None


def test_neither_token_is_a_session():
    derived = ManagementTokens("a" * 64)
    for token in (derived.admin, derived.for_reading):
        assert opened(token, NOW, derived) is None
        assert opened(f"admin.{NOW // SECOND + 60}.{token}", NOW, derived) is None


@given(st.text())
def test_what_nobody_signed_opens_nothing(value):
    assert opened(value, NOW, TOKENS) is None
