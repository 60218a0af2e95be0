r"""The claim of a merge: one worker, and only the current run's result.

    UNMERGED --claimed--> QUEUED --started--> RUNNING --published--> MERGED
                 ^          ^  \--(unsent)--\   |  \--(died)--\
                 |          \----failed-----\--/              |
                 \------------------ reclaimed once stale <---/      N failures --> FAILED

An operator replays a dead letter: what FAILED, or whose message is that letter, is QUEUED anew, with all its attempts.

Timeline of one merge, with what makes each write lose:

    finalize                    queue            worker
    claimed(token)                               a claim that isn't stale stands already
    send -------------------->  message
    sent(token)                 | delivered -->  started(token, run)   token isn't current, a run lives, none is left
                                                 renewed(run)          the run isn't current
                                                 published(run)        the run isn't current

A transition gives None where it loses. The write of what it gives is conditional on nothing having changed
since the archive was read, so of any number of simultaneous winners here, one writes.

The specification is tests/guarantees/model/claim_model.py: it asks these very functions, in every state that workers,
messages and clocks can lead to.
"""

from dataclasses import replace

from actions_cache.domain.archive import Archive, Merge, MergeState, Part
from actions_cache.domain.timing import FAILED_MERGE_RETRY, SEND_TIMEOUT, Lifetimes, Millis


def needs_merge(archive: Archive) -> bool:
    return archive.is_stored and archive.object is None


def claimable_at(archive: Archive, lifetimes: Lifetimes) -> Millis | None:
    """When the archive can be claimed: 0 for at once, None for never.

    A queued message isn't overtaken while the queue may still hold it: a backlog longer than that would
    void each message before its turn. A dead run is known by its lease; claiming anew voids its message.
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
    claimable = claimable_at(archive, lifetimes)
    if claimable is None or claimable > now:
        return None
    attempts = 0 if archive.merge.state is MergeState.FAILED else archive.merge.attempts
    if attempts >= max_attempts:
        return None
    return replace(archive, merge=Merge(state=MergeState.QUEUED, claim_token=token, claimed_at=now, attempts=attempts))


def redriven(archive: Archive, letter_token: str, token: str, now: Millis) -> Archive | None:
    """A new claim, made by who holds a dead letter; the attempts before it don't count.

    None where there is nothing to merge, a run lives, or the queue may still hold a message: that of another claim than
    the letter's. The letter is the only message that its own claim ever had, so no stale time need pass first.
    """
    if not needs_merge(archive):
        return None
    merge = archive.merge
    match merge.state:
        case MergeState.QUEUED if merge.claim_token != letter_token:
            return None
        case MergeState.RUNNING if merge.claim_token != letter_token or merge.lease_until > now:
            return None
    return replace(archive, merge=Merge(state=MergeState.QUEUED, claim_token=token, claimed_at=now))


def given_up(archive: Archive, now: Millis, lifetimes: Lifetimes, max_attempts: int) -> Archive | None:
    """A claim that went stale after its last attempt: each run died, so none could say that it failed."""
    claimable = claimable_at(archive, lifetimes)
    is_stale = claimable is not None and claimable <= now
    if not is_stale or archive.merge.state is MergeState.FAILED or archive.merge.attempts < max_attempts:
        return None
    return _with_merge(archive, state=MergeState.FAILED, run_token=None, ended_at=now)


def is_given_up(archive: Archive, token: str, now: Millis, lifetimes: Lifetimes, max_attempts: int) -> bool:
    """Return whether this claim, the current one, has nothing left to try, noted as failed or not yet."""
    if not archive.is_stored or archive.merge.claim_token != token:
        return False
    is_failed = archive.merge.state is MergeState.FAILED
    return is_failed or given_up(archive, now, lifetimes, max_attempts) is not None


def sent(archive: Archive, token: str, now: Millis) -> Archive | None:
    """Notes that the queue has the message; from here on it is the queue's to deliver."""
    if archive.merge.claim_token != token or archive.merge.sent_at is not None:
        return None
    return _with_merge(archive, sent_at=now)


def released(archive: Archive, token: str) -> Archive | None:
    """The message couldn't be sent: the next one to come may claim at once."""
    if archive.merge.claim_token != token or archive.merge.state is not MergeState.QUEUED:
        return None
    return replace(archive, merge=Merge(attempts=archive.merge.attempts))


def started(
    archive: Archive, token: str, run_token: str, now: Millis, lifetimes: Lifetimes, max_attempts: int
) -> Archive | None:
    """None, too, after the last attempt: runs that died leave their message in the queue, and their count behind."""
    merge = archive.merge
    if not needs_merge(archive) or merge.claim_token != token or merge.attempts >= max_attempts:
        return None
    run_lives = merge.state is MergeState.RUNNING and merge.lease_until > now
    if merge.state not in (MergeState.QUEUED, MergeState.RUNNING) or run_lives:
        return None
    return _with_merge(
        archive,
        state=MergeState.RUNNING,
        run_token=run_token,
        lease_until=now + lifetimes.merge_lease,
        attempts=merge.attempts + 1,
    )


def renewed(archive: Archive, run_token: str, now: Millis, lifetimes: Lifetimes) -> Archive | None:
    if not _is_current_run(archive, run_token):
        return None
    return _with_merge(archive, lease_until=now + lifetimes.merge_lease)


def published(archive: Archive, run_token: str, merged: Part, now: Millis) -> Archive | None:
    if not _is_current_run(archive, run_token):
        return None
    merge = replace(archive.merge, state=MergeState.MERGED, run_token=None, ended_at=now)
    return replace(archive, merge=merge, object=merged)


def failed(archive: Archive, run_token: str, now: Millis, max_attempts: int) -> Archive | None:
    """Back to the queue, whose message comes again; after N attempts for good, with an alarm."""
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
"""Seconds before the first retry, doubled after each delivery. Longer: merges wait though the fault has passed.
Shorter: more runs fail."""

LONGEST_RETRY_SECONDS = 300
"""Longer: merges wait after an outage. Shorter: the queue's deliveries are used up sooner, and the message becomes a
dead letter though its merge never ran; with this, twenty deliveries outlast an outage of 75 minutes. SQS takes 12 hours
at most (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html)."""


def retry_after(deliveries: int) -> int:
    """Return the seconds until the next delivery, after this many. Those that Lambda had no room for count as well."""
    # Bound the exponent: the queue's count may be any number.
    doublings = max(0, min(deliveries - 1, LONGEST_RETRY_SECONDS.bit_length()))
    return min(FIRST_RETRY_SECONDS << doublings, LONGEST_RETRY_SECONDS)
