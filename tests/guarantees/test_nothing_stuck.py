"""Nothing stuck: wherever a process crashes, the archive ends merged, the entry restores, and no message is lost.

Short runs crash at the most delicate points. With `--long`, a first run of each scenario learns its calls, and the
processes crash before and after each of them, or lose its answer.
"""

from collections.abc import Callable, Mapping, Sequence

import pytest

from actions_cache.domain.archive import MergeState
from actions_cache.domain.signing import Phase
from tests.guarantees.crashes.cleanup import CLEANUPS, clean_up
from tests.guarantees.crashes.environment import CrashEnvironment, entry_name
from tests.guarantees.crashes.gate import Call, Fault, Point, points
from tests.guarantees.crashes.scenarios import (
    DEAD_LETTERS,
    KEY,
    MERGED_PARTS,
    crash_a_worker,
    crash_every_worker,
    merge,
    rotate,
    save,
    work_off_the_queue,
)

pytestmark = pytest.mark.slow

Scenario = Callable[[CrashEnvironment, Point | None], list[Call]]


def crash_at(
    sample: Sequence[Point], environment: CrashEnvironment, subtests: pytest.Subtests, scenario: Scenario
) -> None:
    """Run the scenario once for each point of the sample, or for each point that there is if it is empty."""
    for point in sample or points(scenario(environment, None)):
        environment.empty()
        with subtests.test(str(point)):
            scenario(environment, point)


def test_claim_of_a_crashed_server_is_retaken(environment: CrashEnvironment):
    save(environment, Point(Fault.CRASH_BEFORE, Call("SendMessage", 1)))


COMPLETED, PUBLISHED = Call("CompleteMultipartUpload", 1), Call("PutItem", 2)
OF_MERGE = [Point(Fault.CRASH_AFTER, COMPLETED), Point(Fault.CRASH_AFTER, PUBLISHED)]


def test_crashed_merge_is_done_again(environment: CrashEnvironment, subtests: pytest.Subtests, is_long: bool):
    crash_at([] if is_long else OF_MERGE, environment, subtests, merge)


OF_CLEANUP: Mapping[str, Sequence[Point]] = {
    "parts of a merged archive": [
        Point(fault, Call("DeleteObjects", 1)) for fault in (Fault.CRASH_BEFORE, Fault.CRASH_AFTER)
    ]
}


@pytest.mark.parametrize(
    "task", [pytest.param(task, marks=[] if task in OF_CLEANUP else [pytest.mark.long]) for task in CLEANUPS]
)
def test_crashed_cleanup_is_done_again(
    environment: CrashEnvironment, subtests: pytest.Subtests, is_long: bool, task: str
):
    """A sweep isn't done until the table says so."""

    def scenario(environment: CrashEnvironment, point: Point | None) -> list[Call]:
        return clean_up(environment, CLEANUPS[task], point)

    crash_at([] if is_long else OF_CLEANUP[task], environment, subtests, scenario)


@pytest.mark.long
def test_merge_that_crashes_every_worker_is_given_up(environment: CrashEnvironment):
    crash_every_worker(environment)


def test_undecodable_message_becomes_a_dead_letter(environment: CrashEnvironment):
    """It becomes one at its first delivery, and the good message behind it is processed meanwhile."""
    _send_nonsense(environment)
    environment.driver.save(entry_name(KEY), *MERGED_PARTS)
    gate = work_off_the_queue(environment)
    assert environment.waiting(DEAD_LETTERS) == 1
    assert environment.the_archive().merge.state is MergeState.MERGED
    assert (gate.counts["SendMessage"], gate.counts["ChangeMessageVisibility"]) == (1, 0)


def test_crash_after_the_dead_letter_loses_no_message(environment: CrashEnvironment):
    """The message comes again, and leaves a second dead letter rather than none."""
    _send_nonsense(environment)
    crash_a_worker(environment, Point(Fault.CRASH_AFTER, Call("SendMessage", 1)))
    assert (environment.waiting("MergeQueue"), environment.waiting(DEAD_LETTERS)) == (1, 1)
    work_off_the_queue(environment)
    assert environment.waiting(DEAD_LETTERS) == 2


def _send_nonsense(environment: CrashEnvironment) -> None:
    queue = environment.resources.refs["MergeQueue"]
    environment.clients.sqs.send_message(QueueUrl=queue, MessageBody="no merge message")


@pytest.mark.long
@pytest.mark.parametrize("phase", Phase)
def test_crashed_rotation_step_is_done_again(environment: CrashEnvironment, subtests: pytest.Subtests, phase: Phase):
    """Comes last: the surviving server keeps a ring for five real minutes, and here weeks pass in one."""
    crash_at([], environment, subtests, lambda environment, point: rotate(environment, phase, point))
