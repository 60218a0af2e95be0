"""Single merge, the transitions. That only one of simultaneous winners writes is the table's: tests/integration/aws."""

from dataclasses import replace

import pytest

from actions_cache.domain import claim
from actions_cache.domain.archive import ArchiveState, Merge, MergeState
from actions_cache.domain.timing import FAILED_MERGE_RETRY, SEND_TIMEOUT
from tests.unit.domain.build import LIFETIMES, MERGED, NOW, archive, merged_archive, queued, running, stored_archive

ATTEMPTS = 3


def claimed(seen, now=NOW):
    return claim.claimed(seen, "new", now, LIFETIMES, ATTEMPTS)


def started(seen, token="claim", now=NOW):
    return claim.started(seen, token, "new run", now, LIFETIMES, ATTEMPTS)


def test_an_unmerged_archive_is_claimed():
    after = claimed(stored_archive())
    assert (after.merge.state, after.merge.claim_token) == (MergeState.QUEUED, "new")


@pytest.mark.parametrize(
    "seen",
    [
        archive(),
        merged_archive(),
        stored_archive(object=MERGED),
        stored_archive(state=ArchiveState.DELETED),
    ],
    ids=["reserved", "merged", "one part", "deleted"],
)
def test_what_needs_no_merge_is_never_claimed(seen):
    assert claimed(seen, NOW + 10**12) is None


STALE = {
    "never sent": (queued(), NOW + SEND_TIMEOUT),
    "sent, and the queue can't hold it any more": (queued(sent_at=NOW), NOW + LIFETIMES.queue_retention),
    "run dead": (running(), NOW + LIFETIMES.merge_lease),
    "failed yesterday": (
        stored_archive(Merge(state=MergeState.FAILED, claim_token="claim", ended_at=NOW, attempts=ATTEMPTS)),
        NOW + FAILED_MERGE_RETRY,
    ),
}


@pytest.mark.parametrize(("seen", "stale_at"), STALE.values(), ids=STALE)
def test_a_claim_is_retaken_once_it_is_stale_and_not_a_moment_before(seen, stale_at):
    assert claimed(seen, stale_at - 1) is None
    assert claimed(seen, stale_at).merge.claim_token == "new"


def test_a_backlog_longer_than_the_lease_voids_no_message():
    waiting = claim.sent(claimed(stored_archive()), "new", NOW)
    assert claimed(waiting, NOW + 10 * LIFETIMES.merge_lease) is None
    assert started(waiting, "new", NOW + 10 * LIFETIMES.merge_lease) is not None


def test_a_run_begins_only_with_the_current_claim():
    assert started(queued(), token="another") is None
    assert started(queued()).merge.run_token == "new run"


def test_a_delivery_that_finds_a_live_run_ends_quietly():
    assert started(running(), now=NOW + LIFETIMES.merge_lease - 1) is None


def test_a_delivery_that_finds_a_dead_run_starts_another():
    after = started(running(), now=NOW + LIFETIMES.merge_lease)
    assert (after.merge.run_token, after.merge.attempts) == ("new run", 2)


@pytest.mark.parametrize("seen", [merged_archive(), stored_archive(), archive()])
def test_nothing_starts_on_what_is_not_queued(seen):
    assert started(seen) is None


def test_only_the_current_run_publishes():
    assert claim.published(running(run_token="other"), "run", MERGED, NOW) is None
    after = claim.published(running(), "run", MERGED, NOW + 5)
    assert (after.object, after.merge.state, after.merge.ended_at) == (MERGED, MergeState.MERGED, NOW + 5)


def test_a_run_whose_lease_expired_but_that_nobody_replaced_may_still_publish():
    assert claim.published(running(lease_until=NOW - 1), "run", MERGED, NOW) is not None


def test_a_run_publishes_nothing_into_a_deleted_archive():
    assert claim.published(replace(running(), state=ArchiveState.DELETED), "run", MERGED, NOW) is None


def test_only_the_current_run_renews_its_lease():
    assert claim.renewed(running(run_token="other"), "run", NOW, LIFETIMES) is None
    assert claim.renewed(running(), "run", NOW + 7, LIFETIMES).merge.lease_until == NOW + 7 + LIFETIMES.merge_lease


def test_a_failed_run_goes_back_to_its_queue_and_its_message_starts_the_next():
    after = claim.failed(running(), "run", NOW, ATTEMPTS)
    assert (after.merge.state, after.merge.attempts) == (MergeState.QUEUED, 1)
    assert started(after).merge.attempts == 2


def test_the_last_attempt_that_fails_fails_the_merge():
    after = claim.failed(running(attempts=ATTEMPTS), "run", NOW, ATTEMPTS)
    assert after.merge.state is MergeState.FAILED
    assert started(after) is None


def test_no_run_starts_after_the_last_attempt_though_its_message_comes_again():
    dead = running(attempts=ATTEMPTS)
    assert started(dead, now=NOW + LIFETIMES.merge_lease) is None
    assert started(running(attempts=ATTEMPTS - 1), now=NOW + LIFETIMES.merge_lease) is not None


def test_a_merge_whose_runs_all_died_is_given_up_and_not_claimed_forever():
    dead = running(attempts=ATTEMPTS)
    late = NOW + LIFETIMES.merge_lease
    assert claimed(dead, late) is None
    assert claim.given_up(dead, late - 1, LIFETIMES, ATTEMPTS) is None
    assert claim.given_up(dead, late, LIFETIMES, ATTEMPTS).merge.state is MergeState.FAILED
    assert claim.given_up(running(attempts=ATTEMPTS - 1), late, LIFETIMES, ATTEMPTS) is None


FAILED = stored_archive(Merge(state=MergeState.FAILED, claim_token="claim", ended_at=NOW, attempts=ATTEMPTS))


@pytest.mark.parametrize(
    ("seen", "letter"),
    [
        (FAILED, "claim"),
        (FAILED, "an earlier claim"),
        (stored_archive(), "claim"),
        (queued(sent_at=NOW, attempts=ATTEMPTS), "claim"),
        (running(lease_until=NOW), "claim"),
    ],
    ids=["failed", "failed since", "released", "its message is the letter", "run dead"],
)
def test_a_dead_letters_merge_is_claimed_anew_at_once_and_with_all_its_attempts(seen, dead_letter):
    after = claim.redriven(seen, dead_letter, "new", NOW)
    assert after == replace(seen, merge=Merge(state=MergeState.QUEUED, claim_token="new", claimed_at=NOW))


@pytest.mark.parametrize(
    ("seen", "letter"),
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
def test_no_letter_is_replayed_where_nothing_is_to_be_merged_or_somebody_does_it(seen, dead_letter):
    assert claim.redriven(seen, dead_letter, "new", NOW) is None


def test_a_claim_whose_message_could_not_be_sent_is_released_at_once():
    after = claim.released(queued(), "claim")
    assert claimed(after).merge.claim_token == "new"
    assert claim.released(queued(), "another") is None
    assert claim.released(running(), "claim") is None


def test_a_message_is_noted_as_sent_once_and_only_for_its_claim():
    assert claim.sent(queued(), "claim", NOW).merge.sent_at == NOW
    assert claim.sent(queued(), "another", NOW) is None
    assert claim.sent(queued(sent_at=NOW), "claim", NOW + 1) is None
