"""Processes that do the same thing at the same moment, round after round: as Lambda's, they share nothing but AWS."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Protocol

from actions_cache.archives import transition
from actions_cache.domain import claim
from actions_cache.domain.archive import Archive, Commit, Part, committed, reserved, stored
from actions_cache.domain.entry import EntryName
from actions_cache.domain.errors import AlreadyExists
from actions_cache.domain.object_keys import ArchiveKeys
from actions_cache.settings import Settings
from dev.services import AllServices
from tests.support.journey import Journey

PATIENCE_SECONDS = 60


class Barrier(Protocol):
    def wait(self, timeout: float) -> int: ...


Deed = Callable[..., Any]
"""Takes a AllServices, the racer's number and the round's arguments. True if it won."""


def claims(services: AllServices, _racer: int, archive_id: str) -> bool:
    return services.claim_merge(archive_id)


def starts(services: AllServices, racer: int, archive_id: str, claim_token: str) -> bool:
    """What MergeArchive does first with a message."""
    run = f"run {racer}"
    now, lifetimes, attempts = services.clock.now(), services.lifetimes, services.settings.merge_attempts
    return bool(
        transition(
            services.table, archive_id, lambda seen: claim.started(seen, claim_token, run, now, lifetimes, attempts)
        )
    )


def publishes(services: AllServices, racer: int, archive_id: str) -> bool:
    """What MergeArchive does last; each racer has a run and a merged object of its own."""
    run = f"run {racer}"
    merged = Part(ArchiveKeys(archive_id).merged(run), 2, run)
    return bool(
        transition(services.table, archive_id, lambda seen: claim.published(seen, run, merged, services.clock.now()))
    )


def reserves(services: AllServices, _racer: int, name: EntryName) -> bool:
    try:
        services.reserve(name)
    except AlreadyExists:
        return False
    return True


@dataclass(frozen=True)
class Racers:
    lines: list[Connection]

    def race(self, deed: Deed, *arguments: Any) -> list[int]:
        """Who won, by their numbers. What one raises is raised here."""
        for line in self.lines:
            line.send((deed, arguments))
        answers = []
        for line in self.lines:
            assert line.poll(PATIENCE_SECONDS), "a racer doesn't answer"
            answers.append(line.recv())
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return [racer for racer, won in enumerate(answers) if won]


@contextmanager
def racers(number: int, settings: Settings, environment: Mapping[str, str]) -> Iterator[Racers]:
    """Live until the block ends. Spawned, not forked: no socket or random state is shared."""
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(number)
    lines, processes = [], []
    for racer in range(number):
        ours, theirs = context.Pipe()
        process = context.Process(target=_run, args=(racer, theirs, together, settings, dict(environment)), daemon=True)
        process.start()
        theirs.close()
        lines.append(ours)
        processes.append(process)
    try:
        yield Racers(lines)
    finally:
        for line in lines:
            line.close()
        for process in processes:
            process.join(10)
            if process.is_alive():
                process.kill()
                process.join()


def _run(racer: int, line: Connection, together: Barrier, settings: Settings, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    services = AllServices(settings)
    while True:
        try:
            deed, arguments = line.recv()
        except EOFError:
            return
        try:
            together.wait(PATIENCE_SECONDS)
            line.send(deed(services, racer, *arguments))
        except Exception as error:  # noqa: BLE001 - the other end raises it
            line.send(RuntimeError(repr(error)))


def save_without_bytes(journey: Journey, entry_name: EntryName) -> Archive:
    """An entry of two parts that nobody has claimed, in two writes."""
    services, now = journey.services, journey.services.clock.now()
    archive = reserved(services.tokens.new(), entry_name, now, services.lifetimes)
    services.table.reserve(archive, now)
    seen = journey.archive(archive.id)
    upload = committed(seen, Commit("digest", 2, 2, Part(ArchiveKeys(archive.id).manifest("m"), 1, "m")), None)
    entry = stored(upload, now) if upload else None
    assert entry is not None
    return services.table.publish_entry(seen, entry)
