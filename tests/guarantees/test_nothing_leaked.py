"""Nothing leaks: every object is reachable from the table, or gone within a day, by our own sweep."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from moto import mock_aws

from actions_cache.cleanup import CleanUp, FindOrphans
from actions_cache.domain.timing import DAY, SECOND, Millis
from actions_cache.merge import GivenUp
from actions_cache.ports import MergeMessage
from dev.local.resources import Clients, create
from dev.local.template import Template
from dev.services import AllServices
from tests.conftest import CREDENTIALS, settings_for
from tests.guarantees.soak.audit import Audit, audit
from tests.support.journey import Journey, SetClock, block_ids, name, plenty

EXAMPLES = 6
"""tests/guarantees/slow/fuzz takes many more."""

STEP_SECONDS = 6 * 3600
"""Between the cleanups of the last day; a deployment's schedule is much denser."""


class Killed(BaseException):
    """The process is gone: nothing of it runs any more, no clean-up of its own either."""


@dataclass
class Mortal:
    """Table and bucket as seen by a process that is killed at one of its calls, before it or after."""

    target: Any
    life: "Life"

    def __getattr__(self, method: str) -> Any:
        call = getattr(self.target, method)
        return self.life.guarded(call) if callable(call) else call


@dataclass
class Life:
    calls_left: int
    after_the_call: bool

    def guarded(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            self.calls_left -= 1
            if self.calls_left < 0 or (self.calls_left == 0 and not self.after_the_call):
                raise Killed
            answer = call(*args, **kwargs)
            if self.calls_left == 0:
                raise Killed
            return answer

        return guarded


@dataclass
class World:
    """What the steps of a run act on. `merge`, `clean_up` and `find_orphans` may be killed on their way."""

    journey: Journey
    uploads: list[str] = field(default_factory=list)
    queue: list[MergeMessage] = field(default_factory=list)
    _keys: Any = field(default_factory=count)

    # ---------------------------------------------------------------- what clients do

    def save(self, key: int, blocks: int) -> None:
        with suppress(Exception):  # the key is taken, say
            archive_id = self.journey.reserve(name(f"key {key}"))
            self.uploads.append(archive_id)
            self._put(archive_id, blocks, b"saved")
            self.journey.services.finalize(name(f"key {key}"), max(1, blocks) * len(b"saved"))

    def abandon(self, key: int, blocks: int) -> None:
        with suppress(Exception):
            self.uploads.append(self.journey.reserve(name(f"key {key}")))
            self._put(self.uploads[-1], blocks, b"abandoned")

    def put_late(self, which: int, blocks: int) -> None:
        """A PUT that began while its URL was good, and ends no later than one can."""
        if self.uploads:
            archive_id = self.uploads[which % len(self.uploads)]
            archive = self.journey.services.table.archive(archive_id)
            lives = self.journey.services.lifetimes
            if archive and self.journey.clock.now() < archive.upload_closes_at + lives.late_arrival:
                self._arrive(archive_id, blocks, b"late")

    def remove(self, which: int) -> None:
        if self.uploads:
            self.journey.services.remove_entry(self.uploads[which % len(self.uploads)], lambda _: True)

    def _put(self, archive_id: str, blocks: int, body: bytes) -> None:
        self._arrive(archive_id, blocks, body)
        if blocks:
            self.journey.services.commit_blocks(archive_id, block_ids(blocks))

    def _arrive(self, archive_id: str, blocks: int, body: bytes) -> None:
        for block_id in block_ids(blocks):
            self.journey.put_block(archive_id, block_id, body)
        if not blocks:
            self.journey.put_blob(archive_id, body)

    # ---------------------------------------------------------------- what the functions do

    def merge(self, dies_at: int | None, after_the_call: bool = False) -> None:
        """All messages; a killed worker's comes again."""
        self.queue += self.journey.messages()
        for message in [self.queue.pop(0) for _ in range(len(self.queue))]:
            services = self.journey.services
            merge = services.merge
            if dies_at is not None:
                life = Life(dies_at, after_the_call)
                merge = replace(merge, table=Mortal(services.table, life), bucket=Mortal(services.bucket, life))
            try:
                merge(message, plenty)
            except Killed:
                self.queue.append(message)
            except GivenUp:
                continue  # on to the dead-letter queue

    def clean_up(self, dies_at: int | None, after_the_call: bool = False) -> None:
        self._scheduled(self.journey.services.clean_up, dies_at, after_the_call)

    def find_orphans(self, dies_at: int | None, after_the_call: bool = False) -> None:
        self._scheduled(self.journey.services.find_orphans, dies_at, after_the_call)

    def _scheduled(self, work: CleanUp | FindOrphans, dies_at: int | None, after_the_call: bool) -> None:
        services = self.journey.services
        if dies_at is not None:
            life = Life(dies_at, after_the_call)
            work = replace(work, table=Mortal(services.table, life), bucket=Mortal(services.bucket, life))
        with suppress(Killed):
            work(plenty)

    def advance(self, seconds: int) -> None:
        self.journey.clock.advance(seconds)
        self.clean_up(None)

    def pass_a_day(self) -> None:
        """Nothing fails any more."""
        for _ in range(0, DAY // SECOND + STEP_SECONDS, STEP_SECONDS):
            self.merge(None)
            self.advance(STEP_SECONDS)
        self.find_orphans(None)

    def audit(self) -> Audit:
        return audit(self.journey.services, self.journey.clock.now(), DAY // SECOND)


@contextmanager
def new_world(template: Template, session: boto3.Session) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for variable, value in CREDENTIALS.items():
            patch.setenv(variable, value)
        clients, clock = Clients.of(session), SetClock()
        services = AllServices(settings_for(create(template, clients).environment("ApiFunction")), clock)
        services.session = session
        yield World(Journey(services, clock, clients.s3, clients.sqs))


@pytest.fixture
def world(template: Template, boto_session: boto3.Session) -> Iterator[World]:
    with new_world(template, boto_session) as world:
        yield world


# ------------------------------------------------------------------ random runs

Step = tuple[Any, ...]
"""A method of World, and what it is called with."""

few = st.integers(0, 3)
dies_at = st.one_of(st.none(), st.integers(0, 12))
steps: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just(World.save), few, few),
    st.tuples(st.just(World.abandon), few, few),
    st.tuples(st.just(World.put_late), st.integers(0, 20), few),
    st.tuples(st.just(World.remove), st.integers(0, 20)),
    st.tuples(st.just(World.merge), dies_at, st.booleans()),
    st.tuples(st.just(World.clean_up), dies_at, st.booleans()),
    st.tuples(st.just(World.find_orphans), dies_at, st.booleans()),
    st.tuples(st.just(World.advance), st.sampled_from([1, 61, 600, 2200, 3600, 7300])),
)


def check_runs(template: Template, session: boto3.Session, examples: int, *phases: Phase) -> None:
    """Raises AssertionError."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, *phases),
    )
    @given(st.lists(steps, min_size=5, max_size=25))
    def run(all_steps: Sequence[Step]) -> None:
        with new_world(template, session) as world:
            for act, *details in all_steps:
                act(world, *details)
            during = world.audit()
            assert (during.missing, during.unowned) == ([], [])
            world.pass_a_day()
            assert world.audit().violations == {}

    run()


def test_after_any_run_no_object_is_missing_and_a_day_later_none_is_left_over(
    template: Template, boto_session: boto3.Session
):
    check_runs(template, boto_session, EXAMPLES)


# ------------------------------------------------------------------ cases of their own


@pytest.mark.parametrize("end", ["merged", "removed", "abandoned"])
def test_what_arrives_late_after_all_else_was_swept_is_gone_a_day_later(world: World, end: str):
    """The upload's URL is still good then, or was when the PUT began."""
    if end == "abandoned":
        world.abandon(0, 2)
    else:
        world.save(0, 2)
        world.merge(None)
    if end == "removed":
        world.remove(0)
    for _ in range(2):
        world.advance(world.journey.services.settings.grace_seconds + 1)
    world.put_late(0, 2)
    assert world.audit().awaiting_sweep == 2
    world.pass_a_day()
    assert world.audit().violations == {}
    assert world.audit().awaiting_sweep == 0


def test_what_runs_merged_that_died_before_they_said_so_is_gone_a_day_later(world: World):
    """Each leaves a whole object behind. That the merge never succeeds mustn't keep them all."""
    world.save(0, 3)
    services = world.journey.services
    left_before: set[str] = set()
    for _ in range(3):
        for _ in range(services.settings.merge_attempts + 1):
            _merge_and_die_before_publishing(world)
            world.advance(services.settings.merge_lease_seconds + 1)
        left = {part.key for part in services.bucket.list("") if "/merged/" in part.key}
        assert left & left_before == set()
        left_before = left
        for _ in range(5):
            world.advance(STEP_SECONDS)
    assert world.audit().missing == []


def _merge_and_die_before_publishing(world: World) -> None:
    world.queue += world.journey.messages()
    services = world.journey.services

    @dataclass
    class DiesOnceComplete:
        bucket: Any

        def __getattr__(self, method: str) -> Any:
            return getattr(self.bucket, method)

        def stat(self, _: str) -> Any:
            life.calls_left = 0
            raise Killed

    life = Life(10**6, after_the_call=False)
    merge = replace(services.merge, bucket=DiesOnceComplete(services.bucket), table=Mortal(services.table, life))
    for message in [world.queue.pop(0) for _ in range(len(world.queue))]:
        try:
            merge(message, plenty)
        except Killed:
            world.queue.append(message)
        except GivenUp:
            continue  # on to the dead-letter queue


def test_what_arrives_after_the_last_sweep_is_found_all_the_same(world: World):
    """A PUT that took longer than its URL's life once more, into an upload that the table has forgotten."""
    world.abandon(0, 2)
    [archive_id] = world.uploads
    for _ in range(4):
        world.advance(3600)
    assert world.journey.services.table.archive(archive_id) is None
    world.journey.put_block(archive_id, block_ids(1)[0], b"much too late")
    world.find_orphans(0)
    assert len(world.audit().unowned) == 1
    world.pass_a_day()
    assert world.audit().violations == {}


# ------------------------------------------------------------------ the audit itself


def test_the_audit_sees_a_missing_part_a_foreign_object_and_an_old_orphan(world: World):
    world.save(0, 3)
    services = world.journey.services
    [archive_id] = world.uploads
    part = next(key for key in world.journey.keys(archive_id) if key.startswith("parts/"))
    orphan = world.journey.put_block(archive_id, block_ids(1)[0], b"an orphan")
    services.bucket.write_once("archives/00000000000000000000000000000000/parts/blob/1", b"nobody's")
    services.bucket.delete([f"archives/{archive_id}/{part}"])
    world.journey.clock.advance((Millis(2) * DAY) // SECOND)

    found = world.audit()

    assert len(found.missing) == 1
    assert len(found.unowned) == 1
    assert [key.partition(" ")[0] for key in found.overdue] == [orphan]
