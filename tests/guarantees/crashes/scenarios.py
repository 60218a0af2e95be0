"""A save, a merge and a step of the rotation, of which a process crashes at a chosen call.

Each scenario takes such a point, or None to learn its calls, and checks what must hold whatever happened there.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException

from actions_cache.domain.archive import MergeState
from actions_cache.domain.merge_plan import MIB
from actions_cache.domain.signing import Keyring, Phase
from actions_cache.domain.timing import FAILED_MERGE_RETRY, SECOND, Millis
from actions_cache.rotate import RotateSecret
from dev.clients.wire import Job, Reply, put_block, put_block_list, random_block_id
from tests.guarantees.crashes.environment import CrashEnvironment, Watch, entry_name, wait_until
from tests.guarantees.crashes.gate import Call, Fault, Gate, Point

KEY = "npm-1"
PARTS = (b"a" * 1000, b"b" * 1000, b"c" * 1000)
CONTENT = b"".join(PARTS)

MERGED_PARTS = (b"a" * 5 * MIB, b"b" * 1000, b"c" * 1000)
"""Parts of which the merge copies one, and reads and uploads two together."""
MERGED_CONTENT = b"".join(MERGED_PARTS)

LAST_OF_MERGE = Call("DeleteMessage", 1)
LAST_OF_ROTATION = Call("PutSecretValue", 2)
"""The rotation writes the step's ring, and then that the edge knows it."""

DEAD_LETTERS = "MergeDeadLetterQueue"


def _crashes(point: Point | None) -> bool:
    return point is not None and point.fault is not Fault.ANSWER_LOST


def _up_to(last: Call, calls: list[Call]) -> list[Call]:
    return calls[: calls.index(last) + 1] if last in calls else calls


# ------------------------------------------------------------------ a save


@dataclass(frozen=True)
class Saved:
    calls: list[Call]
    """Calls of the server behind the gate."""
    was_visible: bool | None
    """True if the entry was visible before anybody asked again; None if nobody had to."""


def save(environment: CrashEnvironment, point: Point | None) -> Saved:
    """Save over HTTP; another server is asked again where the first one crashed or didn't answer."""
    gate = Gate()
    with environment.runner.server(gate) as server:
        gate.count_from_now(point)
        with environment.watched(KEY, CONTENT) as watch:
            saving = _Save(environment, server, watch)
            is_saved = saving.run()
            assert gate.struck.is_set() == (point is not None)
            calls = list(gate.calls)
            if is_saved:
                environment.merge_in_the_end(by_schedule=True)
    if is_saved:
        environment.check_no_orphan_is_left(KEY, CONTENT)
    else:
        _check_that_the_key_becomes_free(environment)
    return Saved(calls, saving.was_visible)


@dataclass
class _Save:
    environment: CrashEnvironment
    server: str
    """URL of the server behind the gate."""
    watch: Watch
    was_visible: bool | None = None

    def run(self) -> bool:
        """Save, and return whether it succeeded. If the reservation's answer is lost, nobody knows the upload's URL."""
        created = self._ask(lambda server: Job(server).create(KEY))
        if created.status == 409:
            return False
        assert created.status == 200, created.body
        path = created.json["signed_upload_url"].partition("/blobs/")[2]
        ids = [random_block_id() for _ in PARTS]
        for block_id, part in zip(ids, PARTS, strict=True):
            self._expect(201, partial(_put_block, path, block_id, part))
        self._expect(201, lambda server: put_block_list(f"{server}/blobs/{path}", ids))
        finalized = self._expect(200, lambda server: Job(server).finalize(KEY, len(CONTENT)))
        assert finalized.json["ok"], finalized.body
        assert self.environment.check_all_or_nothing(KEY, len(CONTENT))
        self.watch.must_be_there = True
        hit = self._expect(200, lambda server: Job(server).call("GetCacheEntryDownloadURL", key=KEY))
        assert hit.json["ok"]
        self.watch.start()
        return True

    def _expect(self, status: int, request: Callable[[str], Reply]) -> Reply:
        reply = self._ask(request)
        assert reply.status == status, reply.body
        return reply

    def _ask(self, request: Callable[[str], Reply]) -> Reply:
        """Ask, and ask again if there was no answer, or one after which every client asks again.

        Readers only begin then: they would claim the merge before the server does.
        """
        with suppress(OSError, HTTPException):
            reply = request(self.server)
            if reply.status != 503:
                return reply
        if self.was_visible is None:
            is_there = bool(self.environment.archives())
            self.was_visible = is_there and self.environment.check_all_or_nothing(KEY, len(CONTENT))
        self.watch.start()
        return request(self.environment.survivor)


def _put_block(path: str, block_id: str, body: bytes, server: str) -> Reply:
    return put_block(f"{server}/blobs/{path}", block_id, body)


def _check_that_the_key_becomes_free(environment: CrashEnvironment) -> None:
    """Check that the key is free when the reservation is over, before any cleanup, and that nothing is left."""
    assert environment.job.create(KEY).status == 409
    environment.advance(environment.services.lifetimes.reservation / SECOND + 1)
    assert environment.job.create(KEY).status == 200
    environment.check_nothing_is_left()


# ------------------------------------------------------------------ a merge


def merge(environment: CrashEnvironment, point: Point | None) -> list[Call]:
    """Merge in a worker's process while readers restore, and return its calls up to the message's deletion."""
    environment.driver.save(entry_name(KEY), *MERGED_PARTS)
    gate = Gate(point=point)

    def is_done() -> bool:
        return LAST_OF_MERGE in gate.calls and environment.the_archive().merge.state is MergeState.MERGED

    with environment.watched(KEY, MERGED_CONTENT) as watch:
        watch.must_be_there = True
        watch.start()
        with environment.runner.worker(gate) as worker:
            wait_until(lambda: worker.poll() is not None if _crashes(point) else is_done())
            assert gate.struck.is_set() == (point is not None)
        environment.merge_in_the_end(by_schedule=point is None or point.fault is Fault.CRASH_BEFORE)
    environment.check_no_orphan_is_left(KEY, MERGED_CONTENT)
    return _up_to(LAST_OF_MERGE, gate.calls)


def crash_every_worker(environment: CrashEnvironment) -> None:
    """Let every attempt end in the worker's crash, so that the schedule gives the merge up, and tries it a day later.

    The entry restores throughout.
    """
    environment.driver.save(entry_name(KEY), *MERGED_PARTS)
    with environment.watched(KEY, MERGED_CONTENT) as watch:
        watch.must_be_there = True
        watch.start()
        for _ in range(environment.services.settings.merge_attempts):
            crash_a_worker(environment, Point(Fault.CRASH_BEFORE, Call("CompleteMultipartUpload", 1)))
            _retake(environment, environment.services.lifetimes.merge_lease)
        assert environment.the_archive().merge.state is MergeState.FAILED
        work_off_the_queue(environment)
        assert environment.waiting(DEAD_LETTERS) == 1
        _retake(environment, FAILED_MERGE_RETRY)
        work_off_the_queue(environment)
        assert environment.the_archive().merge.state is MergeState.MERGED
    environment.check_no_orphan_is_left(KEY, MERGED_CONTENT)


def crash_a_worker(environment: CrashEnvironment, point: Point) -> None:
    with environment.runner.worker(Gate(point=point)) as worker:
        wait_until(lambda: worker.poll() is not None)


def work_off_the_queue(environment: CrashEnvironment) -> Gate:
    gate = Gate()
    with environment.runner.worker(gate):
        wait_until(lambda: environment.waiting("MergeQueue") == 0)
    return gate


def _retake(environment: CrashEnvironment, after: Millis) -> None:
    # Without a reader in between, which would retake the claim itself.
    with environment.moving:
        environment.clock.advance(after / SECOND + 1)
        assert environment.driver.clean_up()["retake the claim"] == 1


# ------------------------------------------------------------------ a step of the rotation


def rotate(environment: CrashEnvironment, phase: Phase, point: Point | None) -> list[Call]:
    """Let the schedule's process take the step that leaves this phase, and return its calls."""
    rotation = environment.secrets.rotate_secret
    before = _until_due(environment, rotation, phase)
    gate = Gate(point=point)
    with environment.runner.schedule("rotate schedule", gate) as schedule:
        if _crashes(point):
            wait_until(lambda: schedule.poll() is not None)
        else:
            wait_until(lambda: LAST_OF_ROTATION in gate.calls and gate.struck.is_set() == (point is not None))
        assert gate.struck.is_set() == (point is not None)
        _check_that_urls_verify(rotation, before)
    rotation()
    _check_that_urls_verify(rotation, before)
    after = rotation.keyrings.read()
    assert rotation.edge.read().secrets == after.verifying
    assert after.changed_at is not None
    assert after.phase is not phase
    return _up_to(LAST_OF_ROTATION, gate.calls)


def _until_due(environment: CrashEnvironment, rotation: RotateSecret, phase: Phase) -> Keyring:
    """Rotate until the next step leaves this phase, and return its ring."""
    while True:
        ring = rotation.keyrings.read()
        lasts = rotation.times.of(ring.phase)
        environment.advance(lasts / SECOND + 1)
        if ring.phase is phase:
            return ring
        rotation()


def _check_that_urls_verify(rotation: RotateSecret, before: Keyring) -> None:
    """Check that URLs of before the step, and of now, verify at the edge and at functions that read the ring anew.

    All other secrets may go, since the URLs that they signed have expired.
    """
    edge, ring = rotation.edge.read().secrets, rotation.keyrings.read()
    assert {before.current, ring.current} <= set(edge) & set(ring.verifying)
