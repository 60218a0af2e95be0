"""Jobs that TOKEN_CLAIMS keeps out: what their operator is shown of them, and how much of it is kept.

Every job on github.com can be refused as often as it likes, so what is kept, and what is written, is bounded.
"""

import hashlib
from dataclasses import dataclass

from actions_cache.domain.errors import PermissionDenied
from actions_cache.domain.timing import DAY, SECOND, Millis

SLOTS = 64
"""More: fewer jobs of strangers hide each other. Fewer: less to read, and to write."""

KEPT: Millis = 7 * DAY

SLOT_PAUSE: Millis = 60 * SECOND
"""How long a slot is left alone after a write, by each process and in the table."""

WRITE_PAUSE: Millis = SECOND
"""Between any two writes of one process."""


@dataclass(frozen=True, slots=True)
class RefusedJob:
    """What a verified token said of a job that was refused.

    Args:
        issuer: without a slash at its end.
        repository_id: as it stands in the token.
        repository: `owner/repository`; None where the token doesn't say it, as plain runtime tokens don't.
        owner_id: a number where the token has one, else its node id.
        owner: its name.
        to_admit: what TOKEN_CLAIMS lacks. Each alone, added to it, lets the job in; none where nothing would.
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
        """The one of SLOTS that the repository is kept in."""
        digest = hashlib.sha256(f"{self.repository_id}@{self.issuer}".encode()).digest()
        return int.from_bytes(digest[:8]) % SLOTS


@dataclass(frozen=True, slots=True)
class Refusals:
    """A repository's, together.

    Args:
        job: the last one.
        times: about so many; what a process couldn't write isn't in it.
        last_at: when the last one was refused.
    """

    job: RefusedJob
    times: int
    last_at: Millis


class NotAdmitted(PermissionDenied):
    """A good token of a job that this server isn't for.

    Clients know the message by its beginning: @actions/cache shows as a warning what begins with `cache write denied:`
    or has `cache read denied:` in it.
    """

    def __init__(self, why: str, job: RefusedJob, action: str = "read") -> None:
        super().__init__(f"cache {action} denied: {why}")
        self.why = why
        self.job = job

    @property
    def of_a_write(self) -> "NotAdmitted":
        return NotAdmitted(self.why, self.job, "write")


def may_write(slot_written_at: Millis | None, written_at: Millis | None, now: Millis) -> bool:
    """Return whether a process may write a refusal down.

    Args:
        slot_written_at: when it last wrote into the same slot, or None.
        written_at: when it last wrote any, or None.
        now: the time now.
    """
    rested = slot_written_at is None or now - slot_written_at >= SLOT_PAUSE
    return rested and (written_at is None or now - written_at >= WRITE_PAUSE)
