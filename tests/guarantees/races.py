"""Races between processes, for any table emulator whose conditional writes are atomic; moto's aren't.

Like Lambda's, the processes share nothing but AWS. They start each round together, all with the same task.
"""

import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any, Protocol

from actions_cache.archives import transition
from actions_cache.domain import claim
from actions_cache.domain.archive import Archive, Commit, Merge, MergeState, Part, committed, reserved, stored
from actions_cache.domain.budgets import Usage
from actions_cache.domain.entry import EntryName
from actions_cache.domain.errors import AlreadyExists
from actions_cache.domain.object_keys import ArchiveKeys
from actions_cache.settings import Settings
from actions_cache.system import SystemClock
from dev.clients.driver import CacheDriver, name
from dev.services import AllServices

TIMEOUT_SECONDS = 60


class Barrier(Protocol):
    def wait(self, timeout: float) -> int: ...


Task = Callable[..., bool]
"""Takes the use cases, the racer's number and the round's arguments, and returns whether this racer won."""


@dataclass(frozen=True)
class Racers:
    pipes: list[Connection]

    def race(self, task: Task, *arguments: Any) -> list[int]:
        """Return the winners' numbers.

        Raises:
            RuntimeError: A racer raised an exception.
        """
        for pipe in self.pipes:
            pipe.send((task, arguments))
        answers = []
        for pipe in self.pipes:
            assert pipe.poll(TIMEOUT_SECONDS), "a racer doesn't answer"
            answers.append(pipe.recv())
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return [racer for racer, won in enumerate(answers) if won]


@contextmanager
def racers(number: int, settings: Settings, environment: Mapping[str, str]) -> Iterator[Racers]:
    """Run racers until the block ends. They are forked from a server that only imports, so they share no socket."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    barrier = context.Barrier(number)
    pipes, processes = [], []
    for racer in range(number):
        ours, theirs = context.Pipe()
        process = context.Process(target=_run, args=(racer, theirs, barrier, settings, dict(environment)), daemon=True)
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    try:
        yield Racers(pipes)
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.join(10)
            if process.is_alive():
                process.kill()
                process.join()


def _run(racer: int, pipe: Connection, barrier: Barrier, settings: Settings, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    services = AllServices(settings)
    while True:
        try:
            task, arguments = pipe.recv()
        except EOFError:
            return
        try:
            barrier.wait(TIMEOUT_SECONDS)
            pipe.send(task(services, racer, *arguments))
        except Exception as error:  # noqa: BLE001 - raised at the other end
            pipe.send(RuntimeError(repr(error)))


# ------------------------------------------------------------------ tasks


def claims(services: AllServices, _racer: int, archive_id: str) -> bool:
    return services.claim_merge(archive_id)


def starts(services: AllServices, racer: int, archive_id: str, claim_token: str) -> bool:
    """Do what MergeArchive does first with a message."""
    run, now, attempts = f"run {racer}", services.clock.now(), services.settings.merge_attempts

    def start(seen: Archive) -> Archive | None:
        return claim.started(seen, claim_token, run, now, services.lifetimes, attempts)

    return transition(services.table, archive_id, start) is not None


def publishes(services: AllServices, racer: int, archive_id: str) -> bool:
    """Do what MergeArchive does last; each racer has a run and a merged object of its own."""
    run, now = f"run {racer}", services.clock.now()
    merged = Part(ArchiveKeys(archive_id).merged(run), 2, run)
    return transition(services.table, archive_id, lambda seen: claim.published(seen, run, merged, now)) is not None


def reserves(services: AllServices, _racer: int, entry_name: EntryName) -> bool:
    try:
        services.reserve(entry_name)
    except AlreadyExists:
        return False
    return True


def finalizes(services: AllServices, _racer: int, entry_name: EntryName, archive_id: str) -> bool:
    return services.finalize(entry_name, len(b"content")).archive_id == archive_id


# ------------------------------------------------------------------ races


def on_real_time(driver: CacheDriver) -> CacheDriver:
    """Return the same driver with the system's clock, since the racers share no clock that a test could set."""
    services = AllServices(driver.services.settings, SystemClock())
    services.session = driver.services.session
    return replace(driver, services=services)


def race_for_claims(driver: CacheDriver, racers: Racers, rounds: int) -> None:
    """Check that one racer claims, and that one message is sent."""
    archives = [_save_without_bytes(driver, name(f"claim-{i}")) for i in range(rounds)]
    for archive in archives:
        assert len(racers.race(claims, archive.id)) == 1
        assert driver.archive(archive.id).merge.state is MergeState.QUEUED
    assert Counter(message.archive_id for message in driver.messages()) == {archive.id: 1 for archive in archives}


def race_for_runs(driver: CacheDriver, racers: Racers, rounds: int) -> None:
    """Check that of one message's deliveries one starts a run, and that the table names that run."""
    for i in range(rounds):
        archive = _claimed(driver, f"run-{i}", Merge(state=MergeState.QUEUED))
        [winner] = racers.race(starts, archive.id, "claim")
        merge = driver.archive(archive.id).merge
        assert (merge.state, merge.run_token, merge.attempts) == (MergeState.RUNNING, f"run {winner}", 1)


def race_to_publish(driver: CacheDriver, racers: Racers, rounds: int) -> None:
    """Check that of all runs the current one alone publishes, and that its object stays."""
    for i in range(rounds):
        current = i % len(racers.pipes)
        running = Merge(state=MergeState.RUNNING, run_token=f"run {current}")
        archive = _claimed(driver, f"publish-{i}", running)
        assert racers.race(publishes, archive.id) == [current]
        assert driver.archive(archive.id).object.etag == f"run {current}"


def race_for_keys(driver: CacheDriver, racers: Racers, rounds: int) -> None:
    """Check that one racer reserves a key, and that it is saved once when all finalize it."""
    before = driver.services.repositories.store_usage()
    for i in range(rounds):
        entry_name = name(f"key-{i}")
        assert len(racers.race(reserves, entry_name)) == 1
        reservation = driver.services.table.reservation(entry_name)
        assert reservation is not None
        driver.put_blob(reservation.archive_id, b"content")
        assert len(racers.race(finalizes, entry_name, reservation.archive_id)) == len(racers.pipes)
    assert driver.services.repositories.store_usage() - before == Usage(rounds * len(b"content"), rounds)


RACES = {
    "claim": race_for_claims,
    "start of a run": race_for_runs,
    "publication": race_to_publish,
    "reservation and finalize": race_for_keys,
}


def _claimed(driver: CacheDriver, key: str, merge: Merge) -> Archive:
    """Save an entry, and put its merge into this state of the claim "claim"."""
    archive, now = _save_without_bytes(driver, name(key)), driver.services.clock.now()
    assert claim.needs_merge(archive)
    lease_until = now + 10**6 if merge.state is MergeState.RUNNING else 0
    merge = replace(merge, claim_token="claim", claimed_at=now, sent_at=now, lease_until=lease_until)
    return driver.services.table.replace_archive(archive, replace(archive, merge=merge))


def _save_without_bytes(driver: CacheDriver, entry_name: EntryName) -> Archive:
    """Save an entry of two parts, in two writes, whose merge nobody has claimed."""
    services, now = driver.services, driver.services.clock.now()
    archive = reserved(services.tokens.new(), entry_name, now, services.lifetimes)
    services.table.reserve(archive, now)
    seen = driver.archive(archive.id)
    upload = committed(seen, Commit("digest", 2, 2, Part(ArchiveKeys(archive.id).manifest("m"), 1, "m")), None)
    entry = stored(upload, now) if upload else None
    assert entry is not None
    return services.table.publish_entry(seen, entry)
