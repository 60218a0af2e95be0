"""The guarantees all at once: a long random life, in which anything may happen and anybody may die (protocol.py).

In process, on moto: one actor at a time, so its writes needn't be atomic. Longer: tests/guarantees/slow/protocol.
"""

from hypothesis import HealthCheck, Phase, settings

from tests.guarantees.protocol import run_on_moto

QUICK = settings(
    max_examples=6,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_whatever_happens_the_promises_hold(on_moto, template, boto_session):
    run_on_moto(template, boto_session, QUICK)
