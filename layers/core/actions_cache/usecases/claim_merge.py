"""The claim: one conditional write, then one message."""

import logging
from dataclasses import dataclass

from actions_cache.domain import claim
from actions_cache.domain.timing import Lifetimes
from actions_cache.ports import Clock, MergeMessage, MergeQueue, Table, TokenSource, Unavailable
from actions_cache.usecases.transition import Decision, transition

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClaimMerge:
    table: Table
    queue: MergeQueue
    clock: Clock
    tokens: TokenSource
    lifetimes: Lifetimes
    max_attempts: int

    def __call__(self, archive_id: str) -> bool:
        """Whether this call won the claim. Whoever calls needn't care: a merge is under way, or needless.

        Raises:
            Unavailable: the message couldn't be sent; the claim is released.
        """
        token = self.tokens.new()
        return self._claim(
            archive_id,
            token,
            lambda seen: claim.claimed(seen, token, self.clock.now(), self.lifetimes, self.max_attempts),
        )

    def again(self, letter: MergeMessage) -> bool:
        """The same for who holds a dead letter (domain/claim.py, `replayed`)."""
        token = self.tokens.new()
        return self._claim(
            letter.archive_id,
            token,
            lambda seen: claim.replayed(seen, letter.claim_token, token, self.clock.now()),
        )

    def _claim(self, archive_id: str, token: str, decide: Decision) -> bool:
        if transition(self.table, archive_id, decide) is None:
            return False
        try:
            self.queue.send(MergeMessage(archive_id, token))
        except Unavailable:
            transition(self.table, archive_id, lambda seen: claim.released(seen, token))
            raise
        transition(self.table, archive_id, lambda seen: claim.sent(seen, token, self.clock.now()))
        logger.info("merge claimed", extra={"archive_id": archive_id})
        return True
