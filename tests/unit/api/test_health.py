"""`/health` checks the dependencies once every few seconds, however often it is requested."""

import asyncio
import threading
from collections.abc import Mapping

import pytest

from functions.api.health import FAULT_SECONDS, WELL_SECONDS, Health


class Dependencies:
    """Counts the checks of the dependencies; a check may be held up."""

    def __init__(self) -> None:
        self.now = 100.0
        self.checks = 0
        self.faults: Mapping[str, str] = {}
        self.error: Exception | None = None
        self.may_answer = threading.Event()
        self.may_answer.set()

    def check(self) -> Mapping[str, str]:
        self.checks += 1
        assert self.may_answer.wait(10)
        if self.error is not None:
            raise self.error
        return self.faults

    def health(self) -> Health:
        return Health(self.check, lambda: self.now)


@pytest.fixture
def dependencies() -> Dependencies:
    return Dependencies()


@pytest.mark.parametrize(("faults", "seconds"), [({}, WELL_SECONDS), ({"table": "gone"}, FAULT_SECONDS)])
async def test_health_result_is_cached_until_it_expires(
    dependencies: Dependencies, faults: Mapping[str, str], seconds: float
):
    health, dependencies.faults = dependencies.health(), faults
    assert [await health.faults() for _ in range(100)] == [faults] * 100
    dependencies.now += seconds - 0.01
    assert (await health.faults(), dependencies.checks) == (faults, 1)
    dependencies.now += 0.01
    dependencies.faults = {"bucket": "slow"}
    assert (await health.faults(), dependencies.checks) == ({"bucket": "slow"}, 2)


async def test_concurrent_checks_share_one_probe(dependencies: Dependencies):
    health = dependencies.health()
    dependencies.may_answer.clear()
    requests = [asyncio.create_task(health.faults()) for _ in range(200)]
    await asyncio.sleep(0.05)
    requests[0].cancel()
    dependencies.may_answer.set()
    with pytest.raises(asyncio.CancelledError):
        await requests[0]
    assert await asyncio.gather(*requests[1:]) == [{}] * 199
    assert dependencies.checks == 1


async def test_failed_check_is_not_cached(dependencies: Dependencies):
    assert FAULT_SECONDS < WELL_SECONDS <= 10
    health, dependencies.error = dependencies.health(), RuntimeError("odd")
    with pytest.raises(RuntimeError, match="odd"):
        await health.faults()
    dependencies.error = None
    assert (await health.faults(), dependencies.checks) == ({}, 2)


def test_cached_result_outlives_its_event_loop(dependencies: Dependencies):
    """A request on Lambda may have its own loop, and be cancelled in the middle of a check."""
    health = dependencies.health()
    dependencies.may_answer.clear()

    async def cancel_request() -> None:
        request = asyncio.create_task(health.faults())
        await asyncio.sleep(0.05)
        request.cancel()
        dependencies.may_answer.set()

    asyncio.run(cancel_request())
    dependencies.now += WELL_SECONDS
    assert asyncio.run(health.faults()) == {}
    assert asyncio.run(health.faults()) == {}
    assert dependencies.checks == 2
