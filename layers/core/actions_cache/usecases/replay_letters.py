"""The dead letters of merges: what stands behind each, and another try for those that want one."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from actions_cache.domain import claim
from actions_cache.domain.archive import Archive
from actions_cache.domain.errors import TryAgain
from actions_cache.ports import Clock, DeadLetter, DeadLetters, MergeMessage, Table, Unavailable
from actions_cache.usecases.claim_merge import ClaimMerge

logger = logging.getLogger(__name__)


class Prospect(StrEnum):
    """What a letter's replay does."""

    CLAIM = "claims the merge anew"
    DROP_GONE = "drops the letter: the entry is gone"
    DROP_MERGED = "drops the letter: the archive is one object"
    DROP_OVERTAKEN = "drops the letter: a newer claim is under way"
    LEAVE_RUNNING = "leaves the letter: a run of it is under way"
    LEAVE_UNREADABLE = "leaves the letter: it is no merge message"

    @property
    def leaves(self) -> bool:
        return self in (Prospect.LEAVE_RUNNING, Prospect.LEAVE_UNREADABLE)


@dataclass(frozen=True, slots=True)
class Reading:
    """A letter with what the table says about it."""

    letter: DeadLetter
    archive: Archive | None
    prospect: Prospect
    is_done: bool = False
    fault: str | None = None
    """Why it couldn't be done. Then the letter stays."""


@dataclass(frozen=True, slots=True)
class ReplayLetters:
    table: Table
    letters: DeadLetters
    clock: Clock
    claim_merge: ClaimMerge

    def __call__(self, *, acts: bool, drops_unreadable: bool = False) -> Iterator[Reading]:
        """Each letter, with what its replay did, or would do.

        A claim is written on condition that nothing has changed since the archive was read, and its message carries a
        token of its own: whatever still holds the old one ends without an effect. The letter goes last, so that it
        is still there where anything fails.

        Args:
            acts: else nothing changes.
            drops_unreadable: letters that are no merge messages go too.
        """
        with self.letters.held() as letters:
            for letter in letters:
                reading = self._read(letter)
                yield self._act(reading, drops_unreadable=drops_unreadable) if acts else reading

    def _read(self, letter: DeadLetter) -> Reading:
        if letter.message is None:
            return Reading(letter, None, Prospect.LEAVE_UNREADABLE)
        archive = self.table.archive(letter.message.archive_id)
        return Reading(letter, archive, self._prospect(archive, letter.message))

    def _prospect(self, archive: Archive | None, message: MergeMessage) -> Prospect:
        if archive is None or not archive.is_stored:
            return Prospect.DROP_GONE
        if not claim.needs_merge(archive):
            return Prospect.DROP_MERGED
        if claim.replayed(archive, message.claim_token, "token", self.clock.now()):
            return Prospect.CLAIM
        is_current = archive.merge.claim_token == message.claim_token
        return Prospect.LEAVE_RUNNING if is_current else Prospect.DROP_OVERTAKEN

    def _act(self, reading: Reading, *, drops_unreadable: bool) -> Reading:
        letter, prospect = reading.letter, reading.prospect
        try:
            if prospect is Prospect.CLAIM and letter.message and not self.claim_merge.again(letter.message):
                return self._read(letter)
            is_dropped = not prospect.leaves or (drops_unreadable and prospect is Prospect.LEAVE_UNREADABLE)
            if is_dropped:
                self.letters.delete(letter)
        except (Unavailable, TryAgain) as fault:
            logger.exception("a dead letter stays", extra={"letter": letter.id})
            return Reading(letter, reading.archive, prospect, fault=str(fault))
        return Reading(letter, reading.archive, prospect, is_done=is_dropped)
