"""Each task of the cleanup, done by the schedule's process, while readers restore what must still be there."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

from actions_cache.archives import transition
from actions_cache.aws.dynamodb_items import DUE_SHARDS
from actions_cache.domain import claim
from actions_cache.domain.archive import ArchiveState
from actions_cache.domain.timing import SECOND, SEND_TIMEOUT
from tests.guarantees.crashes.environment import CrashEnvironment, entry_name, wait_until
from tests.guarantees.crashes.gate import Call, Fault, Gate, Point
from tests.guarantees.crashes.scenarios import CONTENT, KEY, PARTS


@dataclass(frozen=True)
class CleanupCase:
    prepare: Callable[[CrashEnvironment], None]
    """Makes the task due."""
    check: Callable[[CrashEnvironment], None]
    """Checks the outcome."""
    has_readers: bool = False


def clean_up(environment: CrashEnvironment, case: CleanupCase, point: Point | None) -> list[Call]:
    """Run the schedule, check the outcome, and return the calls of its first run.

    Of its sixteen queries in random order, one of each shard of the due times, the first stands for all.
    """
    case.prepare(environment)
    gate = Gate(point=point)
    crashes = point is not None and point.fault is not Fault.ANSWER_LOST
    next_run = len(DUE_SHARDS) + 1
    with _watched(environment) if case.has_readers else nullcontext():
        with environment.runner.schedule("cleanup schedule", gate) as schedule:
            wait_until(lambda: schedule.poll() is not None if crashes else gate.counts["Query"] >= next_run)
            assert gate.struck.is_set() == (point is not None)
        case.check(environment)
    first_run = gate.calls if crashes else gate.calls[: gate.calls.index(Call("Query", next_run))]
    return [call for call in first_run if call.operation != "Query" or call.number == 1]


@contextmanager
def _watched(environment: CrashEnvironment) -> Iterator[None]:
    with environment.watched(KEY, CONTENT) as watch:
        watch.must_be_there = True
        watch.start()
        yield


# ------------------------------------------------------------------ preparations


def _abandon(environment: CrashEnvironment) -> None:
    environment.driver.upload(entry_name(KEY), *PARTS)
    environment.advance(_last_arrival_seconds(environment))


def _leave_a_claim_unsent(environment: CrashEnvironment) -> None:
    """Do what a server does that crashes between the claim and the message."""
    services, now = environment.services, environment.clock.now()
    archive_id = environment.driver.upload(entry_name(KEY), *PARTS)
    replace(services.finalize, merges_at_finalize=False)(entry_name(KEY), len(CONTENT))
    lifetimes, attempts = services.lifetimes, services.settings.merge_attempts
    transition(services.table, archive_id, lambda seen: claim.claimed(seen, "dead claimer", now, lifetimes, attempts))
    environment.advance(SEND_TIMEOUT / SECOND + 1)


def _merge_long_ago(environment: CrashEnvironment) -> None:
    _merge(environment)
    environment.advance(_sweep_seconds(environment))


def _leave_unused(environment: CrashEnvironment) -> None:
    _merge(environment)
    environment.advance(environment.services.lifetimes.unused_entry / SECOND + 1)


def _remove_long_ago(environment: CrashEnvironment) -> None:
    _merge(environment)
    assert environment.services.remove_entry(environment.the_archive().id, lambda _: True)
    environment.advance(_sweep_seconds(environment))


def _merge(environment: CrashEnvironment) -> None:
    environment.driver.save(entry_name(KEY), *PARTS)
    environment.driver.merge_all()


def _last_arrival_seconds(environment: CrashEnvironment) -> float:
    return 2 * environment.services.lifetimes.upload_url / SECOND + 1


def _sweep_seconds(environment: CrashEnvironment) -> float:
    return max(_last_arrival_seconds(environment), environment.services.lifetimes.grace / SECOND) + 1


# ------------------------------------------------------------------ checks


def _check_gone(environment: CrashEnvironment) -> None:
    environment.check_nothing_is_left()
    assert environment.job.create(KEY).status == 200


def _check_removed_whole(environment: CrashEnvironment) -> None:
    """Check that there are either the entry and its archive, or neither."""
    for archive in environment.archives():
        has_entry = environment.services.table.entry(entry_name(KEY)) is not None
        assert has_entry == (archive.state is not ArchiveState.DELETED)
    assert "failed" not in environment.driver.clean_up()
    assert environment.restore(KEY) is None
    _check_gone(environment)


def _check_merged(environment: CrashEnvironment) -> None:
    with _watched(environment):
        environment.merge_in_the_end(by_schedule=True)
    _check_swept(environment)


def _check_swept(environment: CrashEnvironment) -> None:
    environment.check_no_orphan_is_left(KEY, CONTENT)


CLEANUPS: Mapping[str, CleanupCase] = {
    "abandoned reservation": CleanupCase(_abandon, _check_gone),
    # Readers would retake it before the schedule does.
    "unsent claim": CleanupCase(_leave_a_claim_unsent, _check_merged),
    "parts of a merged archive": CleanupCase(_merge_long_ago, _check_swept, has_readers=True),
    "unused entry": CleanupCase(_leave_unused, _check_removed_whole),
    "removed archive": CleanupCase(_remove_long_ago, _check_gone),
}
