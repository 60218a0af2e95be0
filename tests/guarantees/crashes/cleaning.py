"""Each duty of the cleanup, done by the schedule's process, while the witness restores what must still be there."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

from actions_cache.archives import transition
from actions_cache.aws.dynamodb_items import DUE_SHARDS
from actions_cache.domain import claim
from actions_cache.domain.archive import ArchiveState
from actions_cache.domain.timing import SECOND, SEND_TIMEOUT
from tests.guarantees.crashes.gate import Call, Fault, Gate, Point
from tests.guarantees.crashes.saving import CONTENT, KEY, PARTS
from tests.guarantees.crashes.world import World, entry_name, wait_until

CLEANUP = "cleanup schedule"


@dataclass(frozen=True)
class CleanupTask:
    """Args: prepare: until it is due; check: what must hold in the end; has_readers: while it is done."""

    prepare: Callable[[World], None]
    check: Callable[[World], None]
    has_readers: bool


def clean_up(world: World, task: CleanupTask, point: Point | None) -> list[Call]:
    """The calls of the schedule's first run. What must hold is checked.

    Of its sixteen queries, a shard of the agenda each, in random order, the first stands for all.
    """
    task.prepare(world)
    gate = Gate(point=point)
    with _watched(world) if task.has_readers else nullcontext():
        with world.stage.schedule(CLEANUP, gate) as schedule:
            dies = point is not None and point.fault is not Fault.ANSWER_LOST
            next_run = len(DUE_SHARDS) + 1
            wait_until(lambda: schedule.poll() is not None if dies else gate.counts["Query"] >= next_run)
            assert gate.struck.is_set() == (point is not None)
        task.check(world)
    first_run = gate.calls[: gate.calls.index(Call("Query", next_run))] if not dies else gate.calls
    return [call for call in first_run if call.operation != "Query" or call.number == 1]


@contextmanager
def _watched(world: World) -> Iterator[None]:
    with world.watched(KEY, CONTENT) as watch:
        watch.must_be_there = True
        watch.start()
        yield


# ------------------------------------------------------------------ the duties


def _abandon(world: World) -> None:
    world.journey.upload(entry_name(KEY), *PARTS)
    world.advance(_last_arrival_seconds(world))


def _leave_a_claim_unsent(world: World) -> None:
    """As a server does that dies between the claim and the message."""
    archive_id = world.journey.upload(entry_name(KEY), *PARTS)
    replace(world.services.finalize, merges_at_finalize=False)(entry_name(KEY), len(CONTENT))
    now, lifetimes, attempts = world.clock.now(), world.services.lifetimes, world.services.settings.merge_attempts
    transition(
        world.services.table, archive_id, lambda seen: claim.claimed(seen, "dead claimer", now, lifetimes, attempts)
    )
    world.advance(SEND_TIMEOUT / SECOND + 1)


def _merge_long_ago(world: World) -> None:
    _merge(world)
    world.advance(max(_last_arrival_seconds(world), world.services.lifetimes.grace / SECOND) + 1)


def _leave_unused(world: World) -> None:
    _merge(world)
    world.advance(world.services.lifetimes.unused_entry / SECOND + 1)


def _remove_long_ago(world: World) -> None:
    _merge(world)
    assert world.services.remove_entry(world.the_archive().id, lambda _: True)
    world.advance(max(_last_arrival_seconds(world), world.services.lifetimes.grace / SECOND) + 1)


def _merge(world: World) -> None:
    world.journey.save(entry_name(KEY), *PARTS)
    world.journey.merge_all()


def _last_arrival_seconds(world: World) -> float:
    return 2 * world.services.lifetimes.upload_url / SECOND + 1


def _check_gone(world: World) -> None:
    world.check_nothing_is_left()
    assert world.job.create(KEY).status == 200


def _check_removed_whole(world: World) -> None:
    """At each moment either the entry and its archive, or neither."""
    for archive in world.archives():
        assert (world.services.table.entry(entry_name(KEY)) is None) == (archive.state is ArchiveState.DELETED)
    assert "failed" not in world.journey.clean_up()
    assert world.restore(KEY) is None
    _check_gone(world)


def _check_merged(world: World) -> None:
    with _watched(world):
        world.merge_in_the_end(by_schedule=True)
    world.check_no_orphan_is_left(KEY, CONTENT)


def _check_swept(world: World) -> None:
    world.check_no_orphan_is_left(KEY, CONTENT)


TASKS: Mapping[str, CleanupTask] = {
    "an abandoned reservation": CleanupTask(_abandon, _check_gone, has_readers=False),
    # Readers would retake it before the schedule does.
    "an unsent claim": CleanupTask(_leave_a_claim_unsent, _check_merged, has_readers=False),
    "parts of a merged archive": CleanupTask(_merge_long_ago, _check_swept, has_readers=True),
    "an unused entry": CleanupTask(_leave_unused, _check_removed_whole, has_readers=False),
    "a removed archive": CleanupTask(_remove_long_ago, _check_gone, has_readers=False),
}
