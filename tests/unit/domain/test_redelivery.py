"""A merge message is delivered again some time after its run failed."""

import pytest

from actions_cache.domain.claim import LONGEST_RETRY_SECONDS, retry_after

LONGEST_OF_SQS = 12 * 3600


@pytest.mark.parametrize(
    ("deliveries", "seconds"),
    [(0, 10), (1, 10), (2, 20), (3, 40), (4, 80), (5, 160), (6, 300), (7, 300), (20, 300), (1000, 300), (10**9, 300)],
)
def test_retry_delay_doubles_up_to_limit(deliveries: int, seconds: int) -> None:
    assert retry_after(deliveries) == seconds


def test_longest_retry_fits_sqs() -> None:
    assert LONGEST_RETRY_SECONDS <= LONGEST_OF_SQS
