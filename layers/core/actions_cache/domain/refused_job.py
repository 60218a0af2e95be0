"""Describe the jobs that TOKEN_CLAIMS keeps out, and bound how much of them is kept.

Every job on github.com can be refused as often as it likes, so both storage and writes are bounded.
"""

import hashlib
from dataclasses import dataclass

from actions_cache.domain.errors import PermissionDenied
from actions_cache.domain.timing import DAY, SECOND, Millis

SLOTS = 64
"""Maximum number of repositories that are kept. More: fewer of them overwrite each other. Fewer: less to read, and to
write."""

KEPT: Millis = 7 * DAY
"""Time that refusals are kept. Longer: an operator who seldom looks still sees them. Shorter: slots are free sooner."""

SLOT_PAUSE: Millis = 60 * SECOND
"""Time that a slot is left alone after a write, by each process and in the table. Longer: fewer writes. Shorter: counts
are fresher."""

WRITE_PAUSE: Millis = SECOND
"""Minimum time between any two writes of one process."""


@dataclass(frozen=True, slots=True)
class RefusedJob:
    """Describes a refused job by the claims of its verified token.

    Args:
        issuer: without a slash at its end.
        repository_id: as in the token.
        repository: `owner/repository`; None if the token doesn't name it, as plain runtime tokens don't.
        owner_id: a number if the token has one, else the node id.
        owner: the owner's name.
        to_admit: rules, each of which alone would admit the job if added to TOKEN_CLAIMS; may be empty.
    """

    issuer: str
    repository_id: str
    repository: str | None
    owner_id: str | None
    owner: str | None
    to_admit: tuple[str, ...]

    @property
    def called(self) -> str:
        return self.repository or f"repository {self.repository_id}"

    @property
    def slot(self) -> int:
        """Return the repository's slot, one of SLOTS."""
        digest = hashlib.sha256(f"{self.repository_id}@{self.issuer}".encode()).digest()
        return int.from_bytes(digest[:8]) % SLOTS


@dataclass(frozen=True, slots=True)
class Refusals:
    """Counts the refusals of one repository.

    Args:
        job: the latest job.
        times: number of refusals, without those that no process has written.
        last_at: time of the latest refusal.
    """

    job: RefusedJob
    times: int
    last_at: Millis


class NotAdmitted(PermissionDenied):
    """Raised for a job whose token is valid, but which TOKEN_CLAIMS doesn't admit.

    Clients recognize the message by its beginning: @actions/cache shows as a warning any that begins with `cache write
    denied:` or contains `cache read denied:`.
    """

    def __init__(self, why: str, job: RefusedJob, action: str = "read") -> None:
        super().__init__(f"cache {action} denied: {why}")
        self.why = why
        self.job = job

    @property
    def of_a_write(self) -> "NotAdmitted":
        return NotAdmitted(self.why, self.job, "write")


def may_write(slot_written_at: Millis | None, written_at: Millis | None, now: Millis) -> bool:
    """Return whether a process may record a refusal.

    Args:
        slot_written_at: when it last wrote into the same slot, or None.
        written_at: when it last wrote into any, or None.
        now: the current time.
    """
    rested = slot_written_at is None or now - slot_written_at >= SLOT_PAUSE
    return rested and (written_at is None or now - written_at >= WRITE_PAUSE)
