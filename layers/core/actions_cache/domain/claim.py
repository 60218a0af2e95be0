r"""The claim of a merge: one worker merges an archive, and only the current run's result is published.

    UNMERGED --claimed--> QUEUED --started--> RUNNING --published--> MERGED
                 ^          ^  \--(unsent)--\   |  \--(died)--\
                 |          \----failed-----\--/              |
                 \------------------ reclaimed once stale <---/      N failures --> FAILED

When an operator redrives a dead letter, a merge that FAILED, or whose message is that letter, is QUEUED again with all
its attempts.

Timeline of one merge, with the reasons for which each write loses:

    finalize                    queue            worker
    claimed(token)                               there is a claim that isn't stale
    send -------------------->  message
    sent(token)                 | delivered -->  started(token, run)   token isn't current, a run is alive, or N ended
                                                 renewed(run)          the run isn't current
                                                 published(run)        the run isn't current

A transition returns None where it loses. The write of its result is conditional on nothing having changed since the
archive was read, so of any number of simultaneous winners, only one writes.

The specification is tests/guarantees/model/claim_model.py: it calls these functions in every state that workers,
messages and clocks can lead to.
"""

from dataclasses import replace

from actions_cache.domain.archive import Archive, Merge, MergeState, Part
from actions_cache.domain.timing import FAILED_MERGE_RETRY, SEND_TIMEOUT, Lifetimes, Millis


def needs_merge(archive: Archive) -> bool:
    """Return whether the archive is stored as several parts."""
    return archive.is_stored and archive.object is None


def claimable_at(archive: Archive, lifetimes: Lifetimes) -> Millis | None:
    """Return the time from which the archive can be claimed: 0 for at once, None for never.

    A claim stays valid while the queue may still hold its message: otherwise a long backlog would void each message
    before its turn. A dead run is recognized by its expired lease; a new claim voids its message.
    """
    if not needs_merge(archive):
        return None
    merge = archive.merge
    match merge.state:
        case MergeState.UNMERGED:
            return 0
        case MergeState.QUEUED:
            return (
                merge.claimed_at + SEND_TIMEOUT if merge.sent_at is None else merge.sent_at + lifetimes.queue_retention
            )
        case MergeState.RUNNING:
            return merge.lease_until
        case MergeState.FAILED:
            return merge.ended_at + FAILED_MERGE_RETRY
        case MergeState.MERGED:
            return None


def claimed(archive: Archive, token: str, now: Millis, lifetimes: Lifetimes, max_attempts: int) -> Archive | None:
    """Return the archive with a new claim; None if it can't be claimed now, or has no attempt left."""
    claimable = claimable_at(archive, lifetimes)
    if claimable is None or claimable > now:
        return None
    attempts = 0 if archive.merge.state is MergeState.FAILED else archive.merge.attempts
    if attempts >= max_attempts:
        return None
    return replace(archive, merge=Merge(state=MergeState.QUEUED, claim_token=token, claimed_at=now, attempts=attempts))


def redriven(archive: Archive, dead_letter_token: str, token: str, now: Millis) -> Archive | None:
    """Return the archive with a new claim, made for a dead letter; earlier attempts don't count.

    The result is None if there is nothing to merge, a run is alive, or the queue may still hold the message of another
    claim than the dead letter's. The dead letter is the only message that its own claim ever had, so that claim needn't
    become stale first.

    Args:
        archive: The archive of the dead letter.
        dead_letter_token: The claim token in the dead letter.
        token: The token of the new claim.
        now: The current time.
    """
    if not needs_merge(archive):
        return None
    merge = archive.merge
    match merge.state:
        case MergeState.QUEUED if merge.claim_token != dead_letter_token:
            return None
        case MergeState.RUNNING if merge.claim_token != dead_letter_token or merge.lease_until > now:
            return None
    return replace(archive, merge=Merge(state=MergeState.QUEUED, claim_token=token, claimed_at=now))


def given_up(archive: Archive, now: Millis, lifetimes: Lifetimes, max_attempts: int) -> Archive | None:
    """Return the archive with its merge noted as failed; None unless its claim went stale after the last attempt.

    That happens if the last run died, so that it couldn't note its own failure.
    """
    claimable = claimable_at(archive, lifetimes)
    is_stale = claimable is not None and claimable <= now
    if not is_stale or archive.merge.state is MergeState.FAILED or archive.merge.attempts < max_attempts:
        return None
    return _with_merge(archive, state=MergeState.FAILED, run_token=None, ended_at=now)


def is_given_up(archive: Archive, token: str, now: Millis, lifetimes: Lifetimes, max_attempts: int) -> bool:
    """Return whether this claim is the current one and has no attempt left, be it noted as failed or not yet."""
    if not archive.is_stored or archive.merge.claim_token != token:
        return False
    is_failed = archive.merge.state is MergeState.FAILED
    return is_failed or given_up(archive, now, lifetimes, max_attempts) is not None


def sent(archive: Archive, token: str, now: Millis) -> Archive | None:
    """Return the archive with its message noted as sent; None if the claim isn't current or this was noted before.

    From then on, delivering the message is the queue's job.
    """
    if archive.merge.claim_token != token or archive.merge.sent_at is not None:
        return None
    return _with_merge(archive, sent_at=now)


def released(archive: Archive, token: str) -> Archive | None:
    """Return the archive without the claim, whose message couldn't be sent, so that others may claim at once."""
    if archive.merge.claim_token != token or archive.merge.state is not MergeState.QUEUED:
        return None
    return replace(archive, merge=Merge(attempts=archive.merge.attempts))


def started(
    archive: Archive, token: str, run_token: str, now: Millis, lifetimes: Lifetimes, max_attempts: int
) -> Archive | None:
    """Return the archive with a new run; None if the message is void, a run is alive, or no attempt is left.

    A run that died leaves its message in the queue and its attempt counted, so attempts are checked here too.
    """
    merge = archive.merge
    if not needs_merge(archive) or merge.claim_token != token or merge.attempts >= max_attempts:
        return None
    is_run_alive = merge.state is MergeState.RUNNING and merge.lease_until > now
    if merge.state not in (MergeState.QUEUED, MergeState.RUNNING) or is_run_alive:
        return None
    return _with_merge(
        archive,
        state=MergeState.RUNNING,
        run_token=run_token,
        lease_until=now + lifetimes.merge_lease,
        attempts=merge.attempts + 1,
    )


def renewed(archive: Archive, run_token: str, now: Millis, lifetimes: Lifetimes) -> Archive | None:
    """Return the archive with a longer lease; None if the run isn't the current one."""
    if not _is_current_run(archive, run_token):
        return None
    return _with_merge(archive, lease_until=now + lifetimes.merge_lease)


def published(archive: Archive, run_token: str, merged: Part, now: Millis) -> Archive | None:
    """Return the archive with its merged object; None if the run isn't the current one."""
    if not _is_current_run(archive, run_token):
        return None
    merge = replace(archive.merge, state=MergeState.MERGED, run_token=None, ended_at=now)
    return replace(archive, merge=merge, object=merged)


def failed(archive: Archive, run_token: str, now: Millis, max_attempts: int) -> Archive | None:
    """Return the archive queued again, or failed after its last attempt; None if the run isn't the current one."""
    if not _is_current_run(archive, run_token):
        return None
    if archive.merge.attempts >= max_attempts:
        return _with_merge(archive, state=MergeState.FAILED, run_token=None, ended_at=now)
    return _with_merge(archive, state=MergeState.QUEUED, run_token=None)


def _is_current_run(archive: Archive, run_token: str) -> bool:
    return archive.is_stored and archive.merge.state is MergeState.RUNNING and archive.merge.run_token == run_token


def _with_merge(archive: Archive, **changes: object) -> Archive:
    return replace(archive, merge=replace(archive.merge, **changes))  # type: ignore[arg-type]


FIRST_RETRY_SECONDS = 10
"""Seconds before the first retry, doubled after each delivery. Longer: merges wait although the problem has passed.
Shorter: more runs fail."""

LONGEST_RETRY_SECONDS = 300
"""Most seconds before a retry. Longer: merges wait after an outage. Shorter: the queue's deliveries are used up sooner,
and the message becomes a dead letter although its merge never ran. With this value, twenty deliveries outlast an outage
of 75 minutes. SQS allows 12 hours at most (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html)."""


def retry_after(deliveries: int) -> int:
    """Return the seconds until the next delivery after this many, including those that Lambda had no room for."""
    # The exponent is bounded because the queue's count may be any number.
    doublings = max(0, min(deliveries - 1, LONGEST_RETRY_SECONDS.bit_length()))
    return min(FIRST_RETRY_SECONDS << doublings, LONGEST_RETRY_SECONDS)
