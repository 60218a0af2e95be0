"""Multipart uploads that dead or lost runs of a merge left are aborted, and never the one that may be published."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from actions_cache.archives import transition
from actions_cache.domain import claim
from actions_cache.domain.archive import MergeState
from actions_cache.domain.merge_plan import MIB
from actions_cache.domain.object_keys import ArchiveKeys
from actions_cache.domain.timing import SECOND
from actions_cache.events import RunEnd
from actions_cache.ports import MergeMessage, Unavailable
from dev.clients.driver import CacheDriver, fail, name, plenty

KEY = name("npm-1")
BIG, SMALL = b"B" * (5 * MIB), b"s" * 1000


def unfinished(driver: CacheDriver) -> set[str]:
    return {upload.key for upload, _ in driver.services.bucket.uploads("archives/")}


def begin_run(driver: CacheDriver, message: MergeMessage, run_token: str) -> str:
    """Start a run that goes no further than its upload, and return the upload's key."""
    services, now = driver.services, driver.clock.now()
    assert transition(
        services.table,
        message.archive_id,
        lambda seen: claim.started(seen, message.claim_token, run_token, now, services.lifetimes, 5),
    )
    return services.bucket.start_upload(ArchiveKeys(message.archive_id).merged(run_token)).key


def after_a_dead_run(driver: CacheDriver, *parts: bytes) -> MergeMessage:
    """Save an entry, let its first run die, and return the message, which another run may begin with."""
    driver.save(KEY, *parts or (SMALL, SMALL))
    [message] = driver.messages()
    begin_run(driver, message, "dead")
    driver.clock.advance(driver.services.settings.merge_lease_seconds)
    return message


def test_next_run_aborts_what_a_dead_one_left(driver: CacheDriver):
    message = after_a_dead_run(driver)
    other = driver.services.bucket.start_upload("archives/other/merged/1")
    assert driver.services.merge(message, plenty) is RunEnd.MERGED
    assert unfinished(driver) == {other.key}


def test_first_run_asks_for_no_uploads(driver: CacheDriver, monkeypatch: pytest.MonkeyPatch):
    """The request would cost each merge."""
    monkeypatch.setattr(driver.services.bucket, "uploads", lambda _: fail(AssertionError("asked")))
    driver.save(KEY, SMALL, SMALL)
    assert driver.merge_all() == [RunEnd.MERGED]
    driver.clock.advance(driver.services.settings.grace_seconds)
    driver.clean_up()


@pytest.mark.parametrize(
    ("parts", "method"),
    [((SMALL, SMALL), "upload_part"), ((BIG, BIG), "copy_part"), ((SMALL, SMALL), "complete_upload")],
)
def test_run_whose_upload_another_aborted_is_lost(
    driver: CacheDriver, monkeypatch: pytest.MonkeyPatch, parts: tuple[bytes, ...], method: str
):
    """It is neither retried nor a dead letter, and costs the living run no attempt."""
    driver.save(KEY, *parts)
    [message] = driver.messages()
    bucket, step = driver.services.bucket, getattr(driver.services.bucket, method)
    outcomes: list[RunEnd] = []

    def overtaken(*args: object) -> object:
        if not outcomes:
            outcomes.append(RunEnd.NOT_OURS)
            driver.clock.advance(driver.services.settings.merge_lease_seconds)
            outcomes[0] = driver.services.merge(message, plenty)
        return step(*args)

    monkeypatch.setattr(bucket, method, overtaken)
    # One step after the other, since moto isn't atomic.
    assert replace(driver.services.merge, concurrency=1)(message, plenty) is RunEnd.LOST
    assert outcomes == [RunEnd.MERGED]
    archive = driver.archive(message.archive_id)
    assert (archive.merge.state, archive.merge.attempts) == (MergeState.MERGED, 2)
    assert driver.content(archive.id) == b"".join(parts)
    assert unfinished(driver) == set()


def test_overtaken_run_spares_the_upload_of_the_living_one(driver: CacheDriver, monkeypatch: pytest.MonkeyPatch):
    message = after_a_dead_run(driver)
    list_uploads, living = driver.services.bucket.uploads, []

    def overtaken(prefix: str) -> object:
        monkeypatch.setattr(driver.services.bucket, "uploads", list_uploads)
        driver.clock.advance(driver.services.settings.merge_lease_seconds)
        living.append(begin_run(driver, message, "living"))
        return list_uploads(prefix)

    monkeypatch.setattr(driver.services.bucket, "uploads", overtaken)
    assert driver.services.merge(message, plenty) is RunEnd.LOST
    assert unfinished(driver) == set(living)


@pytest.mark.parametrize("method", ["uploads", "abort_upload"])
def test_failed_abort_costs_no_merge_and_is_done_by_the_sweep(
    driver: CacheDriver, monkeypatch: pytest.MonkeyPatch, method: str
):
    message = after_a_dead_run(driver)
    with monkeypatch.context() as faults:
        faults.setattr(driver.services.bucket, method, lambda _: fail(Unavailable("503")))
        assert driver.services.merge(message, plenty) is RunEnd.MERGED
        driver.clock.advance(driver.services.settings.grace_seconds)
        assert driver.clean_up()["failed"] == 1, "the sweep isn't done before it could abort"
    driver.clock.advance(3600)
    driver.clean_up()
    assert unfinished(driver) == set()


def remove(driver: CacheDriver, message: MergeMessage) -> None:
    assert driver.services.remove_entry(message.archive_id, lambda _: True)
    driver.clock.advance(driver.services.settings.grace_seconds + 4 * 3600)


def use_up_the_attempts(driver: CacheDriver, message: MergeMessage) -> None:
    for attempt in range(driver.services.settings.merge_attempts - 1):
        begin_run(driver, message, f"dead{attempt}")
        driver.clock.advance(driver.services.settings.merge_lease_seconds)


@pytest.mark.parametrize("end", [remove, use_up_the_attempts])
def test_cleanup_aborts_what_no_run_will(driver: CacheDriver, end: Callable[[CacheDriver, MergeMessage], None]):
    """The uploads are a removed entry's, and those of a merge whose last run died."""
    message = after_a_dead_run(driver)
    end(driver, message)
    assert unfinished(driver)
    driver.clean_up()
    assert unfinished(driver) == set()


def test_search_for_orphans_aborts_what_nobody_can_complete(driver: CacheDriver):
    message = after_a_dead_run(driver)
    living = begin_run(driver, message, "living")
    offered = driver.archive(driver.reserve_direct(name("npm-2"))).direct
    assert offered is not None
    driver.services.bucket.start_upload(ArchiveKeys("f" * 32).direct("nobody's"))
    elsewhere = driver.services.bucket.start_upload("not-ours/1").key
    assert len(unfinished(driver)) == 4

    assert driver.services.find_orphans(plenty)["left uploads aborted"] == 2

    assert unfinished(driver) == {living, offered.key}
    assert {upload.key for upload, _ in driver.services.bucket.uploads("not-ours/")} == {elsewhere}


def test_upload_of_an_archive_not_noted_yet_is_left_alone(driver: CacheDriver, monkeypatch: pytest.MonkeyPatch):
    """A direct upload is started before its archive is noted."""
    key = driver.services.bucket.start_upload(ArchiveKeys("f" * 32).direct("new")).key
    list_uploads = driver.services.bucket.uploads
    started_at = int(datetime(2027, 1, 15, 12, tzinfo=UTC).timestamp() * SECOND)
    monkeypatch.setattr(
        driver.services.bucket, "uploads", lambda prefix: ((each, started_at) for each, _ in list_uploads(prefix))
    )
    for seconds, left in ((0, {key}), (3599, {key}), (3600, set())):
        driver.clock.at = started_at + seconds * SECOND
        driver.services.find_orphans(plenty)
        assert unfinished(driver) == left
