"""The claim: one conditional write, then one message."""

from dataclasses import dataclass

from actions_cache.domain import claim, happenings
from actions_cache.domain.archive import Archive, MergeState
from actions_cache.domain.timing import Lifetimes
from actions_cache.ports import Clock, MergeMessage, MergeQueue, Table, Telemetry, TokenSource, Unavailable
from actions_cache.usecases.transition import Decision, transition


@dataclass(frozen=True, slots=True)
class ClaimMerge:
    table: Table
    queue: MergeQueue
    clock: Clock
    tokens: TokenSource
    lifetimes: Lifetimes
    max_attempts: int
    telemetry: Telemetry

    def __call__(self, archive_id: str) -> bool:
        """Return whether this call won the claim. Whoever calls needn't care: a merge is under way, or needless.

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
        before = MergeState.UNMERGED

        def claimed(seen: Archive) -> Archive | None:
            nonlocal before
            before = seen.merge.state
            return decide(seen)

        won = transition(self.table, archive_id, claimed)
        if won is None:
            return False
        try:
            self.queue.send(MergeMessage(archive_id, token))
        except Unavailable:
            transition(self.table, archive_id, lambda seen: claim.released(seen, token))
            raise
        transition(self.table, archive_id, lambda seen: claim.sent(seen, token, self.clock.now()))
        self.telemetry.tell(happenings.merge_claimed(won, is_retaken=before is not MergeState.UNMERGED))
        return True
