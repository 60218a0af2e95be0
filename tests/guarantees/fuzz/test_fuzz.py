"""Bad input of every kind: no 500, no hang, an answer in the client's dialect, and the server is as good as before."""

import pytest
from hypothesis import HealthCheck, given, settings

from tests.guarantees.fuzz.properties import HALF, PROPERTIES, check
from tests.guarantees.fuzz.target import CLOSED, Target, errors_logged, exchange, request
from tests.integration.local_run.local_run import LocalRun

MIB = 1024 * 1024


@pytest.mark.parametrize("kind", PROPERTIES)
def test_bad_input_is_answered_in_time_and_without_5xx(fuzzed: tuple[Target, LocalRun], kind: str, is_long: bool):
    target, run = fuzzed
    before = len(errors_logged(run))

    @settings(
        max_examples=1_000 if is_long else 60, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(PROPERTIES[kind](target))
    def send(sent: bytes) -> None:
        check(target, sent, is_whole=kind not in HALF)

    send()
    target.restores()
    assert errors_logged(run)[before:] == []


@pytest.mark.parametrize("target_path", [b"*", b"health"])
def test_request_without_a_path_is_a_client_error(fuzzed: tuple[Target, LocalRun], target_path: bytes):
    target, _ = fuzzed
    answer = exchange(target.server, request(b"GET", target_path, []), is_whole=False)
    assert answer.status == CLOSED or 400 <= answer.status < 500, answer


def test_header_of_megabytes_is_refused(fuzzed: tuple[Target, LocalRun]):
    target, _ = fuzzed
    assert 400 <= exchange(target.server, request(b"GET", b"/health", [(b"X-Long", b"a" * 8 * MIB)])).status < 500
    assert exchange(target.server, request(b"GET", b"/health", [])).status == 200


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_read_with_a_body_is_answered(fuzzed: tuple[Target, LocalRun], method: bytes):
    """CloudFront refuses it; an origin that a body is announced to, and that gets none, would wait for it."""
    target, _ = fuzzed
    for url in (target.object, target.download, f"{target.server}/health"):
        sent = request(method, url.removeprefix(target.server).encode(), [], b"a body")
        assert exchange(target.server, sent).status < 500
