"""Nothing leaked: every object is reachable from the table, or gone within a day, by our own sweep.

Random lives, in which merge, cleanup and listing crash at any call, are in model/test_protocol.py.
"""

from contextlib import suppress
from typing import Any

import pytest

from actions_cache.domain.timing import DAY, SECOND
from actions_cache.merge import GivenUp
from dev.clients.driver import CacheDriver, block_ids, name, plenty
from tests.guarantees.crash_injection import Crashed, Crashes, crashing
from tests.guarantees.soak.audit import Audit, audit

STEP_SECONDS = 6 * 3600
"""Seconds between the cleanups of the last day; a deployment's schedule is much denser."""


class Scenario:
    def __init__(self, driver: CacheDriver) -> None:
        self.driver: CacheDriver
        self.crashes: Crashes
        self.driver, self.crashes = crashing(driver)
        self.queue: list[Any] = []

    def merge(self) -> None:
        """Process all messages; that of a crashed worker comes again."""
        delivered, self.queue = [*self.queue, *self.driver.messages()], []
        for message in delivered:
            with self.crashes.at(None), suppress(GivenUp):
                try:
                    self.driver.services.merge(message, plenty)
                except Crashed:
                    self.queue.append(message)
                    raise

    def advance(self, seconds: int) -> None:
        self.driver.clock.advance(seconds)
        self.driver.clean_up()

    def pass_a_day(self) -> None:
        """Let a day pass in which nothing fails."""
        for _ in range(0, DAY // SECOND + STEP_SECONDS, STEP_SECONDS):
            self.merge()
            self.advance(STEP_SECONDS)
        self.driver.services.find_orphans(plenty)

    def audit(self) -> Audit:
        return audit(self.driver.services, self.driver.clock.now(), DAY // SECOND)

    def put_late(self, archive_id: str) -> None:
        for block_id in block_ids(2):
            self.driver.put_block(archive_id, block_id, b"late")


@pytest.fixture
def scenario(driver: CacheDriver) -> Scenario:
    return Scenario(driver)


@pytest.mark.parametrize("end", ["merged", "removed", "abandoned"])
def test_arrival_after_the_sweep_is_gone_in_a_day(scenario: Scenario, end: str):
    """The upload's URL is still good then, or was when the PUT began."""
    driver = scenario.driver
    archive_id = driver.upload(name("npm"), b"one", b"two")
    if end != "abandoned":
        driver.services.finalize(name("npm"), 6)
        scenario.merge()
    if end == "removed":
        driver.services.remove_entry(archive_id, lambda _: True)
    for _ in range(2):
        scenario.advance(driver.services.settings.grace_seconds + 1)
    scenario.put_late(archive_id)
    assert scenario.audit().awaiting_sweep == 2
    scenario.pass_a_day()
    assert (scenario.audit().violations, scenario.audit().awaiting_sweep) == ({}, 0)


def test_arrival_after_the_last_sweep_is_found(scenario: Scenario):
    """A PUT may take longer than its URL's life once more, into an upload that the table has forgotten."""
    archive_id = scenario.driver.upload(name("npm"), b"one", b"two")
    for _ in range(4):
        scenario.advance(3600)
    assert scenario.driver.services.table.archive(archive_id) is None
    scenario.put_late(archive_id)
    with scenario.crashes.at(0):
        scenario.driver.services.find_orphans(plenty)
    assert len(scenario.audit().unowned) == 2
    scenario.pass_a_day()
    assert scenario.audit().violations == {}


def test_objects_of_crashed_runs_are_gone_in_a_day(scenario: Scenario, monkeypatch: pytest.MonkeyPatch):
    """Each run leaves a whole object behind. That the merge never succeeds mustn't keep them all."""
    services = scenario.driver.services
    scenario.driver.save(name("npm"), b"one", b"two")
    left_before: set[str] = set()
    for _ in range(3):
        for _ in range(services.settings.merge_attempts + 1):
            with monkeypatch.context() as patch:
                # The run looks at its object between completing and publishing it.
                patch.setattr(services.bucket, "stat", lambda _: scenario.crashes.crash(), raising=False)
                scenario.merge()
            scenario.advance(services.settings.merge_lease_seconds + 1)
        left = {part.key for part in services.bucket.list("") if "/merged/" in part.key}
        assert left
        assert left & left_before == set()
        left_before = left
        for _ in range(5):
            scenario.advance(STEP_SECONDS)
    assert scenario.audit().missing == []


@pytest.mark.parametrize("takes_effect", [False, True])
def test_run_after_crashed_ones_leaves_no_upload(scenario: Scenario, takes_effect: bool):
    """Two runs crash at the same call, whichever it is; the upload of each is aborted without S3's help."""
    driver, merge = scenario.driver, scenario.driver.services.merge
    ended, call = False, -1
    while not ended:
        call += 1
        archive_id = driver.save(name(f"npm-{call}"), b"one", b"two").archive_id
        [message] = driver.messages()
        for _ in range(2):
            ended = False
            with scenario.crashes.at(call, takes_effect=takes_effect):
                merge(message, plenty)
                ended = True
            driver.clock.advance(driver.services.settings.merge_lease_seconds + 1)
        merge(message, plenty)
        assert driver.archive(archive_id).object is not None
        assert not [*driver.services.bucket.uploads("archives/")]
    assert call > 8


def test_audit_sees_missing_unowned_and_overdue_objects(scenario: Scenario):
    driver = scenario.driver
    archive_id = driver.save(name("npm"), b"one", b"two", b"three").archive_id
    part = next(key for key in driver.keys(archive_id) if key.startswith("parts/"))
    orphan = driver.put_block(archive_id, block_ids(1)[0], b"an orphan")
    driver.services.bucket.write_once(f"archives/{'0' * 32}/parts/blob/1", b"nobody's")
    driver.services.bucket.delete([f"archives/{archive_id}/{part}"])
    driver.clock.advance(2 * DAY // SECOND)

    found = scenario.audit()

    assert (len(found.missing), len(found.unowned)) == (1, 1)
    assert [key.partition(" ")[0] for key in found.overdue] == [orphan]
