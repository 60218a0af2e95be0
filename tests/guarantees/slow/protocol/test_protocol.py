"""The guarantees all at once: longer lives than tests/guarantees/test_protocol.py has, and other ones each time."""

import pytest
from hypothesis import HealthCheck, settings

from tests.guarantees.protocol import run_on_moto

LONG = settings(
    max_examples=300, stateful_step_count=80, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.timeout(3600)
def test_whatever_happens_the_promises_hold(on_moto, template, boto_session):
    run_on_moto(template, boto_session, LONG)
