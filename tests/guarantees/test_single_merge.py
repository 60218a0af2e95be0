"""Single merge: of any number of simultaneous claimers and deliveries, exactly one wins.

On emulators whose writes are atomic, so not on moto. With `--long`, a thousand rounds, on DynamoDB Local too.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any

import boto3
import pytest

from actions_cache.archives import transition
from actions_cache.domain import claim
from actions_cache.domain.archive import Archive
from actions_cache.domain.entry import Entry, EntryName
from actions_cache.domain.errors import AlreadyExists
from dev.clients.driver import CacheDriver, name, settings_for
from dev.local.emulators import Endpoints
from dev.local.resources import Clients, create
from dev.local.template import Template
from dev.services import AllServices
from tests.guarantees.races import RACES, on_real_time, racers

RACERS, ROUNDS = 8, 15


def race(run: Callable[[int], Any]) -> list[Any]:
    """Start all racers together, and return their results."""
    barrier = Barrier(RACERS)

    def start(racer: int) -> Any:
        barrier.wait(30)
        return run(racer)

    with ThreadPoolExecutor(RACERS) as executor:
        return list(executor.map(start, range(RACERS)))


def claims_for(driver: CacheDriver, archive_id: str, _: int) -> bool:
    return driver.services.claim_merge(archive_id)


def finalizes(driver: CacheDriver, entry_name: EntryName, _: int) -> Entry:
    return driver.services.finalize(entry_name, 7)


def test_one_of_many_claimers_wins_and_sends_a_message(on_emulators: CacheDriver, monkeypatch: pytest.MonkeyPatch):
    for i in range(ROUNDS):
        with monkeypatch.context() as unclaimed:
            unclaimed.setattr(claim, "claimed", lambda *_: None)
            archive_id = on_emulators.save(name(f"npm-{i}"), b"one", b"two").archive_id
        claims = race(partial(claims_for, on_emulators, archive_id))
        assert sorted(claims) == [False] * (RACERS - 1) + [True]
        assert [message.archive_id for message in on_emulators.messages()] == [archive_id]


def test_one_of_many_deliveries_starts_a_run(on_emulators: CacheDriver):
    services = on_emulators.services
    for i in range(ROUNDS):
        entry = on_emulators.save(name(f"npm-{i}"), b"one", b"two")
        [message] = on_emulators.messages()

        def start(racer: int, archive_id: str = entry.archive_id, token: str = message.claim_token) -> Archive | None:
            now = on_emulators.clock.now()
            return transition(
                services.table,
                archive_id,
                lambda seen: claim.started(seen, token, f"run {racer}", now, services.lifetimes, RACERS),
            )

        started = [archive for archive in race(start) if archive is not None]
        assert len(started) == 1
        assert on_emulators.archive(entry.archive_id) == started[0]


def test_racing_reservations_and_finalizes_make_one_entry(on_emulators: CacheDriver):
    for i in range(ROUNDS):
        entry_name = name(f"npm-{i}")

        def reserve(_: int, entry_name: EntryName = entry_name) -> str | None:
            try:
                return on_emulators.reserve(entry_name)
            except AlreadyExists:
                return None

        [archive_id] = [won for won in race(reserve) if won]
        on_emulators.put_blob(archive_id, b"content")
        entries = race(partial(finalizes, on_emulators, entry_name))
        assert {entry.archive_id for entry in entries} == {archive_id}


@pytest.mark.parametrize("emulator", ["ministack", pytest.param("dynamodb_local", marks=pytest.mark.long)])
def test_one_of_many_processes_wins_each_race(
    on_emulators: CacheDriver,
    endpoints: Endpoints,
    emulator_session: boto3.Session,
    template: Template,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    subtests: pytest.Subtests,
    emulator: str,
    is_long: bool,
):
    variables, driver = dict(endpoints.environment()), on_emulators
    if emulator == "dynamodb_local":
        variables |= request.getfixturevalue("dynamodb_local").environment
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", variables["AWS_ENDPOINT_URL_DYNAMODB"])
        driver = on_dynamodb_local(on_emulators, emulator_session, template)
    driver = on_real_time(driver)
    with racers(RACERS, driver.services.settings, variables) as processes:
        for kind, run_race in RACES.items():
            with subtests.test(kind):
                run_race(driver, processes, 1_000 if is_long else 10)


def on_dynamodb_local(on_emulators: CacheDriver, session: boto3.Session, template: Template) -> CacheDriver:
    """Return a driver with tables on DynamoDB Local, as the environment says, and all else on the other emulators."""
    clients = Clients.of(session)
    resources = create(template, clients, prefix="race")
    services = AllServices(settings_for(resources.environment("ApiFunction")), on_emulators.clock)
    services.session = session
    return CacheDriver(services, on_emulators.clock, clients.s3, clients.sqs)
