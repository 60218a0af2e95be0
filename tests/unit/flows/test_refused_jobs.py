"""Jobs that TOKEN_CLAIMS keeps out are noted with their repository, in bounded number."""

import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from actions_cache.activity import ListRefused, NoteRefused
from actions_cache.domain.access import GITHUB, Rule, parse_rule
from actions_cache.domain.refused_job import KEPT, SLOTS, Refusals, RefusedJob
from actions_cache.domain.timing import SECOND
from actions_cache.ports import Unavailable, WriteConflict
from dev.clients.driver import CacheDriver, SetClock, fail

MINUTE = 60


def job(number: int = 42) -> RefusedJob:
    return RefusedJob(GITHUB, str(number), f"octo/app-{number}", "7", "octo", (f"repository_id={number}",))


def in_slot_of(one: RefusedJob) -> RefusedJob:
    others = (job(number) for number in range(1000, 9999))
    return next(other for other in others if other.slot == one.slot)


class SynchronousExecutor(Executor):
    """Runs each function before `submit` returns."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


def noting(driver: CacheDriver, executor: Executor | None = None) -> NoteRefused:
    return NoteRefused(driver.services.repositories, driver.clock, executor or SynchronousExecutor())


def listed(driver: CacheDriver, *rules: Rule) -> list[Refusals]:
    return list(ListRefused(driver.services.repositories, driver.clock, rules)())


@pytest.fixture
def driver(emptied_driver: CacheDriver) -> CacheDriver:
    return emptied_driver


def test_refused_job_is_listed_with_time_and_count(driver: CacheDriver):
    note = noting(driver)
    note(job())
    assert listed(driver) == [Refusals(job(), 1, driver.clock.now())]
    for _ in range(3):
        note(job())
    driver.clock.advance(MINUTE)
    note(replace(job(), repository="octo/renamed"))
    assert listed(driver) == [Refusals(replace(job(), repository="octo/renamed"), 5, driver.clock.now())]
    noting(driver)(job())
    assert [refusals.times for refusals in listed(driver)] == [6], "of another process too"


def test_refused_jobs_are_sorted_and_expire(driver: CacheDriver):
    note = noting(driver)
    for number in (1, 2, 3):
        driver.clock.advance(1)
        note(job(number))
    assert [refusals.job.repository_id for refusals in listed(driver)] == ["3", "2", "1"]
    driver.clock.advance(KEPT // SECOND - 1)
    assert [refusals.job.repository_id for refusals in listed(driver)] == ["3"]
    driver.clock.advance(1)
    assert listed(driver) == []


@pytest.mark.parametrize("rule", ["any", "repository_id=42", "owner_id=7", "repository=octo/app-42"])
def test_job_admitted_since_is_not_listed(driver: CacheDriver, rule: str):
    noting(driver)(job())
    assert listed(driver, parse_rule("repository_id=43"))
    assert listed(driver, parse_rule(rule)) == []


def test_unused_slot_is_taken_over(driver: CacheDriver):
    mine, others = job(), in_slot_of(job())
    one, other = noting(driver), noting(driver)
    one(mine)
    driver.clock.advance(MINUTE - 1)
    other(others)
    assert [refusals.job for refusals in listed(driver)] == [mine]
    with pytest.raises(WriteConflict):
        driver.services.repositories.add_refusals(Refusals(others, 1, driver.clock.now()), 0)
    driver.clock.advance(MINUTE)
    other(others)
    assert listed(driver) == [Refusals(others, 1, driver.clock.now())]


def test_stored_refusals_are_bounded(driver: CacheDriver, monkeypatch: pytest.MonkeyPatch):
    writes: list[Refusals] = []
    monkeypatch.setattr(driver.services.repositories, "add_refusals", lambda refusals, _: writes.append(refusals))
    note, began = noting(driver), driver.clock.now()
    for number in range(20_000):
        driver.clock.at += 10
        note(job(number))
    seconds = (driver.clock.now() - began) // SECOND
    assert 0 < len(writes) <= seconds + 1
    assert len(note._slots) == SLOTS
    for slot in range(SLOTS):
        times = [refusals.last_at for refusals in writes if refusals.job.slot == slot]
        assert all(later - earlier >= MINUTE * SECOND for earlier, later in pairwise(times))


@pytest.mark.parametrize("error", [Unavailable("the table"), WriteConflict()])
def test_failing_table_fails_no_request(driver: CacheDriver, monkeypatch: pytest.MonkeyPatch, error: Exception):
    note = noting(driver)
    with monkeypatch.context() as broken:
        broken.setattr(driver.services.repositories, "add_refusals", lambda *_: fail(error))
        note(job())
    driver.clock.advance(MINUTE)
    note(job())
    assert [refusals.times for refusals in listed(driver)] == [1]


def test_silent_table_blocks_one_thread():
    hangs, written = threading.Event(), []

    class Hanging:
        def add_refusals(self, refusals: Refusals, _: int) -> None:
            written.append(refusals)
            hangs.wait(30)

    with ThreadPoolExecutor(4) as executor:
        clock = SetClock()
        note = NoteRefused(Hanging(), clock, executor)  # type: ignore[arg-type]
        began = time.monotonic()
        for number in range(100):
            clock.advance(2)
            note(job(number))
        assert time.monotonic() - began < 5
        hangs.set()
    assert len(written) == 1
