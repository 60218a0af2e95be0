"""Moments as ages: of two archives that differ only in how long ago everything was, too long to matter, one is kept."""

from dataclasses import replace
from functools import cache

from actions_cache.domain.archive import Archive
from actions_cache.domain.cleanup_schedule import _sweep_times
from actions_cache.domain.timing import DAY, SEND_TIMEOUT, Lifetimes, Millis

NOW: Millis = 20_000 * DAY
"""It is always now: the clock goes on by making everything older."""

LONG_AGO: Millis = 1


@cache
def older(archive: Archive, passed: Millis, lifetimes: Lifetimes) -> Archive:
    """The archive as it looks `passed` later.

    A moment is never put before the last deadline that the domain reckons from it, so no deadline that has passed
    comes back, and none that hasn't is lost. Of sweeps, all that counts is whether one is due.
    """

    def moment(at: Millis, deadline: Millis) -> Millis:
        """0 stands for never, and stays."""
        return at and max(at - passed, NOW - deadline)

    merge = archive.merge
    aged = replace(
        archive,
        reserved_at=moment(archive.reserved_at, 0),
        reservation_expires_at=moment(archive.reservation_expires_at, 0),
        upload_closes_at=moment(archive.upload_closes_at, lifetimes.late_arrival),
        stored_at=moment(archive.stored_at, SEND_TIMEOUT),
        last_used_at=moment(archive.last_used_at, 0),
        deleted_at=moment(archive.deleted_at, lifetimes.grace),
        merge=replace(
            merge,
            claimed_at=moment(merge.claimed_at, SEND_TIMEOUT if merge.sent_at is None else 0),
            sent_at=merge.sent_at and moment(merge.sent_at, lifetimes.queue_retention),
            lease_until=moment(merge.lease_until, 0),
            # A day counts for a failed merge, and is never reached by minutes.
            ended_at=moment(merge.ended_at, DAY if NOW + passed - merge.ended_at >= DAY else lifetimes.grace),
        ),
    )
    owes_sweep = any(archive.swept_at < at <= NOW + passed for at in _sweep_times(archive, lifetimes))
    return replace(aged, swept_at=LONG_AGO if owes_sweep else NOW)
