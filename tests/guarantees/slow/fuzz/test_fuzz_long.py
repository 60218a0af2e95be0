"""tests/guarantees/fuzz, at length and by chance: other examples each time."""

import pytest
from hypothesis import HealthCheck, given, settings

from tests.guarantees.fuzz.properties import HALF, PROPERTIES, Target, check
from tests.guarantees.fuzz.target import errors_logged
from tests.integration.local_run.local_run import LocalRun

EXAMPLES = 1_000


@pytest.mark.parametrize("kind", PROPERTIES)
def test_whatever_is_sent_is_answered_in_time_and_never_by_a_fault_of_the_server(
    fuzzed: tuple[Target, LocalRun], kind: str
):
    target, run = fuzzed
    before = len(errors_logged(run))

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(PROPERTIES[kind](target))
    def send(sent: bytes) -> None:
        check(target, sent, is_whole=kind not in HALF)

    send()
    target.restores()
    assert errors_logged(run)[before:] == []
