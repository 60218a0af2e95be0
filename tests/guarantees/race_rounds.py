"""The races for a merge and for a key, for any table engine whose conditional writes are atomic; moto's aren't."""

from collections import Counter
from dataclasses import replace

from actions_cache.domain import claim
from actions_cache.domain.archive import Archive, Merge, MergeState
from actions_cache.system import SystemClock
from dev.services import AllServices
from tests.guarantees.racers import Racers, claims, publishes, reserves, save_without_bytes, starts
from tests.support.journey import Journey, name


def on_real_time(journey: Journey) -> Journey:
    """The racers have no common clock that a test could set."""
    services = AllServices(journey.services.settings, SystemClock())
    services.session = journey.services.session
    return replace(journey, services=services)


def race_for_claims(journey: Journey, racers: Racers, rounds: int) -> None:
    """One claims, and one message is sent."""
    archives = [save_without_bytes(journey, name(f"claim-{i}")) for i in range(rounds)]
    for archive in archives:
        assert len(racers.race(claims, archive.id)) == 1
        assert journey.archive(archive.id).merge.state is MergeState.QUEUED
    assert Counter(message.archive_id for message in journey.messages()) == {archive.id: 1 for archive in archives}


def race_for_runs(journey: Journey, racers: Racers, rounds: int) -> None:
    """Of one message's deliveries, one starts a run, and it is the one that stands in the table."""
    for i in range(rounds):
        archive = _with(journey, save_without_bytes(journey, name(f"run-{i}")), Merge(state=MergeState.QUEUED))
        [winner] = racers.race(starts, archive.id, "claim")
        merge = journey.archive(archive.id).merge
        assert (merge.state, merge.run_token, merge.attempts) == (MergeState.RUNNING, f"run {winner}", 1)


def race_to_publish(journey: Journey, racers: Racers, rounds: int) -> None:
    """All runs but the current one are overtaken ones; the current one publishes, and its object stays."""
    for i in range(rounds):
        current = i % len(racers.lines)
        archive = _with(
            journey,
            save_without_bytes(journey, name(f"publish-{i}")),
            Merge(state=MergeState.RUNNING, run_token=f"run {current}"),
        )
        assert racers.race(publishes, archive.id) == [current]
        assert journey.archive(archive.id).object.etag == f"run {current}"


def race_for_keys(journey: Journey, racers: Racers, rounds: int) -> None:
    """An entry is saved whole or not at all."""
    for i in range(rounds):
        assert len(racers.race(reserves, name(f"key-{i}"))) == 1


RACES = {
    "claim": race_for_claims,
    "start of a run": race_for_runs,
    "publication": race_to_publish,
    "reservation": race_for_keys,
}


def _with(journey: Journey, archive: Archive, merge: Merge) -> Archive:
    """As after a claim, with plenty of lease."""
    now = journey.services.clock.now()
    merge = replace(merge, claim_token="claim", claimed_at=now, sent_at=now, lease_until=now + 10**6)
    if merge.state is MergeState.QUEUED:
        merge = replace(merge, lease_until=0)
    assert claim.needs_merge(archive)
    return journey.services.table.replace_archive(archive, replace(archive, merge=merge))
