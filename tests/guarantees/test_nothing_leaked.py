"""Nothing leaked: every object is reachable from the table, or gone within a day, by our own sweep."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from moto import mock_aws

from actions_cache.domain.timing import DAY, SECOND, Millis
from actions_cache.merge import GivenUp
from actions_cache.ports import MergeMessage
from dev.clients.driver import CREDENTIALS, CacheDriver, SetClock, block_ids, name, plenty, settings_for
from dev.local.resources import Clients, create
from dev.local.template import Template
from dev.services import AllServices
from tests.guarantees.crash_injection import Crashed, Crashes, inject_crashes
from tests.guarantees.soak.audit import Audit, audit

STEP_SECONDS = 6 * 3600
"""Seconds between the cleanups of the last day; a deployment's schedule is much denser."""


@dataclass
class Scenario:
    """Provides the steps of a run. `merge`, `clean_up` and `find_orphans` may crash at any of their calls."""

    driver: CacheDriver
    crashes: Crashes
    uploads: list[str] = field(default_factory=list)
    queue: list[MergeMessage] = field(default_factory=list)

    # ---------------------------------------------------------------- what clients do

    def save(self, key: int, blocks: int) -> None:
        with suppress(Exception):  # the key may be taken
            self.uploads.append(self.driver.reserve(name(f"key {key}")))
            self._put(self.uploads[-1], blocks, b"saved")
            self.driver.services.finalize(name(f"key {key}"), max(1, blocks) * len(b"saved"))

    def abandon(self, key: int, blocks: int) -> None:
        with suppress(Exception):
            self.uploads.append(self.driver.reserve(name(f"key {key}")))
            self._put(self.uploads[-1], blocks, b"abandoned")

    def put_late(self, which: int, blocks: int) -> None:
        """Send a PUT that began while its URL was good, and ends no later than one can."""
        if self.uploads:
            archive_id = self.uploads[which % len(self.uploads)]
            archive = self.driver.services.table.archive(archive_id)
            late_arrival = self.driver.services.lifetimes.late_arrival
            if archive and self.driver.clock.now() < archive.upload_closes_at + late_arrival:
                self._arrive(archive_id, blocks, b"late")

    def remove(self, which: int) -> None:
        if self.uploads:
            self.driver.services.remove_entry(self.uploads[which % len(self.uploads)], lambda _: True)

    def _put(self, archive_id: str, blocks: int, body: bytes) -> None:
        self._arrive(archive_id, blocks, body)
        if blocks:
            self.driver.services.commit.block_list(archive_id, block_ids(blocks))

    def _arrive(self, archive_id: str, blocks: int, body: bytes) -> None:
        for block_id in block_ids(blocks):
            self.driver.put_block(archive_id, block_id, body)
        if not blocks:
            self.driver.put_blob(archive_id, body)

    # ---------------------------------------------------------------- what the functions do

    def merge(self, crash_at: int | None, takes_effect: bool = False) -> None:
        """Process all messages; that of a crashed worker comes again."""
        self.queue += self.driver.messages()
        for message in [self.queue.pop(0) for _ in range(len(self.queue))]:
            with self.crashes.at(crash_at, takes_effect=takes_effect):
                try:
                    self.driver.services.merge(message, plenty)
                except Crashed:
                    self.queue.append(message)
                    raise
                except GivenUp:
                    continue  # the queue makes it a dead letter

    def clean_up(self, crash_at: int | None, takes_effect: bool = False) -> None:
        with self.crashes.at(crash_at, takes_effect=takes_effect):
            self.driver.services.clean_up(plenty)

    def find_orphans(self, crash_at: int | None, takes_effect: bool = False) -> None:
        with self.crashes.at(crash_at, takes_effect=takes_effect):
            self.driver.services.find_orphans(plenty)

    def advance(self, seconds: int) -> None:
        self.driver.clock.advance(seconds)
        self.clean_up(None)

    def pass_a_day(self) -> None:
        """Let a day pass in which nothing fails."""
        for _ in range(0, DAY // SECOND + STEP_SECONDS, STEP_SECONDS):
            self.merge(None)
            self.advance(STEP_SECONDS)
        self.find_orphans(None)

    def audit(self) -> Audit:
        return audit(self.driver.services, self.driver.clock.now(), DAY // SECOND)


@contextmanager
def new_scenario(template: Template, session: boto3.Session) -> Iterator[Scenario]:
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for variable, value in CREDENTIALS.items():
            patch.setenv(variable, value)
        clients, clock, crashes = Clients.of(session), SetClock(), Crashes()
        services = AllServices(settings_for(create(template, clients).environment("ApiFunction")), clock)
        services.session = session
        inject_crashes(services, crashes)
        yield Scenario(CacheDriver(services, clock, clients.s3, clients.sqs), crashes)


@pytest.fixture
def scenario(template: Template, boto_session: boto3.Session) -> Iterator[Scenario]:
    with new_scenario(template, boto_session) as scenario:
        yield scenario


# ------------------------------------------------------------------ random runs

Step = tuple[Any, ...]
"""A method of Scenario, and its arguments."""

few = st.integers(0, 3)
crash_at = st.one_of(st.none(), st.integers(0, 12))
steps: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just(Scenario.save), few, few),
    st.tuples(st.just(Scenario.abandon), few, few),
    st.tuples(st.just(Scenario.put_late), st.integers(0, 20), few),
    st.tuples(st.just(Scenario.remove), st.integers(0, 20)),
    st.tuples(st.just(Scenario.merge), crash_at, st.booleans()),
    st.tuples(st.just(Scenario.clean_up), crash_at, st.booleans()),
    st.tuples(st.just(Scenario.find_orphans), crash_at, st.booleans()),
    st.tuples(st.just(Scenario.advance), st.sampled_from([1, 61, 600, 2200, 3600, 7300])),
)


def test_random_run_leaves_no_object_for_over_a_day(template: Template, boto_session: boto3.Session, is_long: bool):
    @settings(
        max_examples=100 if is_long else 6,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink] if is_long else [Phase.generate],
    )
    @given(st.lists(steps, min_size=5, max_size=25))
    def run(all_steps: Sequence[Step]) -> None:
        with new_scenario(template, boto_session) as scenario:
            for act, *arguments in all_steps:
                act(scenario, *arguments)
            during = scenario.audit()
            assert (during.missing, during.unowned) == ([], [])
            scenario.pass_a_day()
            assert scenario.audit().violations == {}

    run()


# ------------------------------------------------------------------ single cases


@pytest.mark.parametrize("end", ["merged", "removed", "abandoned"])
def test_arrival_after_the_sweep_is_gone_in_a_day(scenario: Scenario, end: str):
    """The upload's URL is still good then, or was when the PUT began."""
    if end == "abandoned":
        scenario.abandon(0, 2)
    else:
        scenario.save(0, 2)
        scenario.merge(None)
    if end == "removed":
        scenario.remove(0)
    for _ in range(2):
        scenario.advance(scenario.driver.services.settings.grace_seconds + 1)
    scenario.put_late(0, 2)
    assert scenario.audit().awaiting_sweep == 2
    scenario.pass_a_day()
    assert scenario.audit().violations == {}
    assert scenario.audit().awaiting_sweep == 0


def test_objects_of_crashed_runs_are_gone_in_a_day(scenario: Scenario, monkeypatch: pytest.MonkeyPatch):
    """Each run leaves a whole object behind. That the merge never succeeds mustn't keep them all."""
    scenario.save(0, 3)
    services = scenario.driver.services
    left_before: set[str] = set()
    for _ in range(3):
        for _ in range(services.settings.merge_attempts + 1):
            with monkeypatch.context() as patch:
                # The run looks at its object between completing and publishing it.
                patch.setattr(services.bucket, "stat", lambda _: scenario.crashes.crash(), raising=False)
                scenario.merge(None)
            scenario.advance(services.settings.merge_lease_seconds + 1)
        left = {part.key for part in services.bucket.list("") if "/merged/" in part.key}
        assert left
        assert left & left_before == set()
        left_before = left
        for _ in range(5):
            scenario.advance(STEP_SECONDS)
    assert scenario.audit().missing == []


def test_arrival_after_the_last_sweep_is_found(scenario: Scenario):
    """A PUT may take longer than its URL's life once more, into an upload that the table has forgotten."""
    scenario.abandon(0, 2)
    [archive_id] = scenario.uploads
    for _ in range(4):
        scenario.advance(3600)
    assert scenario.driver.services.table.archive(archive_id) is None
    scenario.driver.put_block(archive_id, block_ids(1)[0], b"much too late")
    scenario.find_orphans(0)
    assert len(scenario.audit().unowned) == 1
    scenario.pass_a_day()
    assert scenario.audit().violations == {}


def test_audit_sees_missing_unowned_and_overdue_objects(scenario: Scenario):
    scenario.save(0, 3)
    services = scenario.driver.services
    [archive_id] = scenario.uploads
    part = next(key for key in scenario.driver.keys(archive_id) if key.startswith("parts/"))
    orphan = scenario.driver.put_block(archive_id, block_ids(1)[0], b"an orphan")
    services.bucket.write_once("archives/00000000000000000000000000000000/parts/blob/1", b"nobody's")
    services.bucket.delete([f"archives/{archive_id}/{part}"])
    scenario.driver.clock.advance((Millis(2) * DAY) // SECOND)

    found = scenario.audit()

    assert len(found.missing) == 1
    assert len(found.unowned) == 1
    assert [key.partition(" ")[0] for key in found.overdue] == [orphan]
