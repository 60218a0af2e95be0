"""The transitions of a merge's claim. tests/integration/aws shows that of simultaneous winners only one writes."""

from dataclasses import replace

import pytest

from actions_cache.domain import claim
from actions_cache.domain.archive import ArchiveState, Merge, MergeState
from actions_cache.domain.timing import FAILED_MERGE_RETRY, SEND_TIMEOUT
from tests.unit.domain.build import LIFETIMES, MERGED, NOW, archive, merged_archive, queued, running, stored_archive

ATTEMPTS = 3


def claimed(current, now=NOW):
    return claim.claimed(current, "new", now, LIFETIMES, ATTEMPTS)


def started(current, token="claim", now=NOW):
    return claim.started(current, token, "new run", now, LIFETIMES, ATTEMPTS)


@pytest.mark.parametrize(
    "current",
    [archive(), merged_archive(), stored_archive(object=MERGED), stored_archive(state=ArchiveState.DELETED)],
    ids=["reserved", "merged", "one part", "deleted"],
)
def test_archive_needing_no_merge_is_not_claimed(current):
    assert claimed(current, NOW + 10**12) is None
    after = claimed(stored_archive())
    assert (after.merge.state, after.merge.claim_token) == (MergeState.QUEUED, "new")


STALE = {
    "never sent": (queued(), NOW + SEND_TIMEOUT),
    "sent, and the queue can't hold it any more": (queued(sent_at=NOW), NOW + LIFETIMES.queue_retention),
    "run dead": (running(), NOW + LIFETIMES.merge_lease),
    "run dead after a renewal": (
        claim.renewed(running(), "run", NOW + 7, LIFETIMES),
        NOW + 7 + LIFETIMES.merge_lease,
    ),
    "failed yesterday": (
        stored_archive(Merge(state=MergeState.FAILED, claim_token="claim", ended_at=NOW, attempts=ATTEMPTS)),
        NOW + FAILED_MERGE_RETRY,
    ),
}


@pytest.mark.parametrize(("current", "stale_at"), STALE.values(), ids=STALE)
def test_stale_claim_is_retaken_on_time(current, stale_at):
    assert claimed(current, stale_at - 1) is None
    assert claimed(current, stale_at).merge.claim_token == "new"


def test_long_backlog_voids_no_message():
    waiting = claim.sent(claimed(stored_archive()), "new", NOW)
    assert claimed(waiting, NOW + 10 * LIFETIMES.merge_lease) is None
    assert started(waiting, "new", NOW + 10 * LIFETIMES.merge_lease) is not None


@pytest.mark.parametrize("current", [merged_archive(), stored_archive(), archive()])
def test_run_starts_only_from_queue_with_current_claim(current):
    assert started(current) is None
    assert started(queued(), token="another") is None
    assert started(queued()).merge.run_token == "new run"


def test_delivery_replaces_dead_run_only():
    ends = NOW + LIFETIMES.merge_lease
    assert started(running(), now=ends - 1) is None
    after = started(running(), now=ends)
    assert (after.merge.run_token, after.merge.attempts) == ("new run", 2)
    assert started(running(attempts=ATTEMPTS - 1), now=ends) is not None
    assert started(running(attempts=ATTEMPTS), now=ends) is None, "it was the last attempt"
    assert started(replace(queued(), state=ArchiveState.DELETED)) is None


def test_only_current_run_publishes():
    assert claim.published(running(run_token="other"), "run", MERGED, NOW) is None
    assert claim.published(replace(running(), state=ArchiveState.DELETED), "run", MERGED, NOW) is None
    assert claim.published(running(lease_until=NOW - 1), "run", MERGED, NOW) is not None, "it wasn't replaced"
    after = claim.published(running(), "run", MERGED, NOW + 5)
    assert (after.object, after.merge.state, after.merge.ended_at) == (MERGED, MergeState.MERGED, NOW + 5)


def test_only_current_run_renews_lease():
    assert claim.renewed(running(run_token="other"), "run", NOW, LIFETIMES) is None
    assert claim.renewed(running(), "run", NOW + 7, LIFETIMES).merge.lease_until == NOW + 7 + LIFETIMES.merge_lease


def test_failed_run_returns_to_queue_until_the_last():
    after = claim.failed(running(), "run", NOW, ATTEMPTS)
    assert (after.merge.state, after.merge.attempts) == (MergeState.QUEUED, 1)
    assert started(after).merge.attempts == 2
    last = claim.failed(running(attempts=ATTEMPTS), "run", NOW, ATTEMPTS)
    assert last.merge.state is MergeState.FAILED
    assert started(last) is None


def test_merge_with_only_dead_runs_is_given_up():
    dead = running(attempts=ATTEMPTS)
    late = NOW + LIFETIMES.merge_lease
    assert claimed(dead, late) is None
    assert claim.given_up(dead, late - 1, LIFETIMES, ATTEMPTS) is None
    assert claim.given_up(dead, late, LIFETIMES, ATTEMPTS).merge.state is MergeState.FAILED
    assert claim.given_up(running(attempts=ATTEMPTS - 1), late, LIFETIMES, ATTEMPTS) is None


FAILED = stored_archive(Merge(state=MergeState.FAILED, claim_token="claim", ended_at=NOW, attempts=ATTEMPTS))


@pytest.mark.parametrize(
    ("current", "dead_letter"),
    [
        (FAILED, "claim"),
        (FAILED, "an earlier claim"),
        (stored_archive(), "claim"),
        (queued(sent_at=NOW, attempts=ATTEMPTS), "claim"),
        (running(lease_until=NOW), "claim"),
    ],
    ids=["failed", "failed since", "released", "its message is the dead letter", "run dead"],
)
def test_redriven_merge_regains_all_attempts(current, dead_letter):
    after = claim.redriven(current, dead_letter, "new", NOW)
    assert after == replace(current, merge=Merge(state=MergeState.QUEUED, claim_token="new", claimed_at=NOW))


@pytest.mark.parametrize(
    ("current", "dead_letter"),
    [
        (archive(), "claim"),
        (merged_archive(), "claim"),
        (stored_archive(object=MERGED), "claim"),
        (replace(FAILED, state=ArchiveState.DELETED), "claim"),
        (queued(sent_at=NOW), "an earlier claim"),
        (running(lease_until=NOW), "an earlier claim"),
        (running(lease_until=NOW + 1), "claim"),
    ],
    ids=["reserved", "merged", "one part", "deleted", "claimed since", "run of another claim", "run lives"],
)
def test_redrive_skips_settled_or_active_merge(current, dead_letter):
    assert claim.redriven(current, dead_letter, "new", NOW) is None


def test_unsent_claim_is_released_and_sent_once():
    after = claim.released(queued(), "claim")
    assert claimed(after).merge.claim_token == "new"
    assert claim.released(queued(), "another") is None
    assert claim.released(running(), "claim") is None
    assert claim.sent(queued(), "claim", NOW).merge.sent_at == NOW
    assert claim.sent(queued(), "another", NOW) is None
    assert claim.sent(queued(sent_at=NOW), "claim", NOW + 1) is None


DELAYS = {0: 10, 1: 10, 2: 20, 3: 40, 4: 80, 5: 160, 6: 300, 7: 300, 20: 300, 1000: 300, 10**9: 300}


def test_retry_delay_doubles_up_to_limit() -> None:
    assert {deliveries: claim.retry_after(deliveries) for deliveries in DELAYS} == DELAYS
    assert claim.LONGEST_RETRY_SECONDS <= 12 * 3600, "SQS hides a message for at most 12 hours"
