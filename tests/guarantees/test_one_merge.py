"""Of any number of simultaneous claimers, and of deliveries, exactly one wins. On atomic writes, so not on moto.

A thousand rounds of each race, on AWS's own DynamoDB Local too: tests/guarantees/slow/races.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any

from actions_cache.archives import transition
from actions_cache.domain import claim
from actions_cache.domain.entry import Entry
from actions_cache.domain.errors import AlreadyExists
from tests.guarantees.race_rounds import RACES, on_real_time
from tests.guarantees.racers import racers
from tests.support.journey import Journey, name

RACERS, ROUNDS, PROCESS_ROUNDS = 8, 15, 10


def race(run: Callable[[int], Any]) -> list[Any]:
    """What each racer got, all having started together."""
    together = Barrier(RACERS)

    def start(racer: int) -> Any:
        together.wait(30)
        return run(racer)

    with ThreadPoolExecutor(RACERS) as racers:
        return list(racers.map(start, range(RACERS)))


def claim_for(journey: Journey, archive_id: str, _: int) -> bool:
    return journey.services.claim_merge(archive_id)


def finalize_for(journey: Journey, key: str, _: int) -> Entry:
    return journey.services.finalize(name(key), 7)


def test_of_simultaneous_claimers_one_wins_and_one_message_is_sent(on_engines, monkeypatch):
    for i in range(ROUNDS):
        with monkeypatch.context() as unclaimed:
            unclaimed.setattr(claim, "claimed", lambda *_: None)
            entry = on_engines.save(name(f"npm-{i}"), b"one", b"two")
        claims = race(partial(claim_for, on_engines, entry.archive_id))
        assert sorted(claims) == [False] * (RACERS - 1) + [True]
        assert [message.archive_id for message in on_engines.messages()] == [entry.archive_id]


def test_of_simultaneous_deliveries_one_starts_a_run(on_engines):
    services = on_engines.services
    for i in range(ROUNDS):
        entry = on_engines.save(name(f"npm-{i}"), b"one", b"two")
        [message] = on_engines.messages()

        def start(racer, archive_id=entry.archive_id, token=message.claim_token):
            now = on_engines.clock.now()
            return transition(
                services.table,
                archive_id,
                lambda seen: claim.started(seen, token, f"run {racer}", now, services.lifetimes, RACERS),
            )

        started = [archive for archive in race(start) if archive is not None]
        assert len(started) == 1
        assert on_engines.archive(entry.archive_id) == started[0]


def test_of_simultaneous_reservations_and_finalizes_one_entry_comes_out(on_engines):
    """An entry is saved whole or not at all."""

    def reserve(_):
        try:
            return on_engines.reserve(name(key))
        except AlreadyExists:
            return None

    for i in range(ROUNDS):
        key = f"npm-{i}"
        [archive_id] = [won for won in race(reserve) if won]
        on_engines.put_blob(archive_id, b"content")
        entries = race(partial(finalize_for, on_engines, key))
        assert {entry.archive_id for entry in entries} == {archive_id}


def test_of_simultaneous_processes_one_claims_one_starts_the_current_one_publishes_and_one_reserves(
    on_engines, endpoints
):
    journey = on_real_time(on_engines)
    with racers(RACERS, journey.services.settings, endpoints.environment()) as processes:
        for run_race in RACES.values():
            run_race(journey, processes, PROCESS_ROUNDS)
