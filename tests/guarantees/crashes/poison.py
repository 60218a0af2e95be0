"""Messages that can't succeed, worked on by a worker's process."""

from actions_cache.domain.archive import MergeState
from actions_cache.domain.timing import FAILED_MERGE_RETRY, SECOND, Millis
from tests.guarantees.crashes.gate import Call, Fault, Gate, Point
from tests.guarantees.crashes.merging import CONTENT, KEY, PARTS
from tests.guarantees.crashes.world import World, entry_name, wait_until

DEAD_LETTERS = "MergeDeadLetterQueue"


def send_what_is_no_message(world: World) -> None:
    """It becomes a dead letter at its first delivery, and the good message behind it is processed meanwhile."""
    queue = world.resources.refs["MergeQueue"]
    world.clients.sqs.send_message(QueueUrl=queue, MessageBody="no merge message")
    world.journey.save(entry_name(KEY), *PARTS)
    gate = Gate()
    with world.stage.worker(gate):
        wait_until(lambda: world.waiting("MergeQueue") == 0)
    assert world.waiting(DEAD_LETTERS) == 1
    assert world.the_archive().merge.state is MergeState.MERGED
    assert (gate.counts["SendMessage"], gate.counts["ChangeMessageVisibility"]) == (1, 0)


def die_before_the_message_is_deleted(world: World) -> None:
    """Die once the letter is written: the message comes again, and leaves a second letter rather than none."""
    queue = world.resources.refs["MergeQueue"]
    world.clients.sqs.send_message(QueueUrl=queue, MessageBody="no merge message")
    with world.stage.worker(Gate(point=Point(Fault.DIES_AFTER, Call("SendMessage", 1)))) as worker:
        wait_until(lambda: worker.poll() is not None)
    assert (world.waiting("MergeQueue"), world.waiting(DEAD_LETTERS)) == (1, 1)
    with world.stage.worker(Gate()):
        wait_until(lambda: world.waiting("MergeQueue") == 0)
    assert world.waiting(DEAD_LETTERS) == 2


def kill_every_worker(world: World) -> None:
    """Each of its tries ends in the worker's death, and the schedule retakes it, until it gives it up: where people see
    it. In a day it gets another try. The entry restores throughout.
    """
    world.journey.save(entry_name(KEY), *PARTS)
    with world.watched(KEY, CONTENT) as watch:
        watch.must_be_there = True
        watch.start()
        for _ in range(world.services.settings.merge_attempts):
            _let_a_worker_die(world)
            _retake(world, world.services.lifetimes.merge_lease)
        assert world.the_archive().merge.state is MergeState.FAILED
        with world.stage.worker(Gate()):
            wait_until(lambda: world.waiting("MergeQueue") == 0)
        assert world.waiting(DEAD_LETTERS) == 1
        _retake(world, FAILED_MERGE_RETRY)
        with world.stage.worker(Gate()):
            wait_until(lambda: world.waiting("MergeQueue") == 0)
        assert world.the_archive().merge.state is MergeState.MERGED
    world.check_no_orphan_is_left(KEY, CONTENT)


def _let_a_worker_die(world: World) -> None:
    with world.stage.worker(Gate(point=Point(Fault.DIES_BEFORE, Call("CompleteMultipartUpload", 1)))) as worker:
        wait_until(lambda: worker.poll() is not None)


def _retake(world: World, after: Millis) -> None:
    # No reader in between: it would retake the claim itself.
    with world.moving:
        world.clock.advance(after / SECOND + 1)
        assert world.journey.clean_up()["retake the claim"] == 1
