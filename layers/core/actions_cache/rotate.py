"""The signing secret's rotation, a step a call, and what the edge knows of it."""

import logging
from dataclasses import dataclass

from actions_cache.domain.errors import TryAgain
from actions_cache.domain.signing import Keyring, Phase, RotationTimes, advanced, known_to_edge, unknown_to_edge
from actions_cache.ports import Clock, EdgeSecrets, KeyringStore, TokenSource, WriteConflict

logger = logging.getLogger(__name__)

MAX_ROUNDS = 3
"""Of telling the edge. Its schedule is rare and so is a deploy, so a third one that loses is no accident."""


@dataclass(frozen=True, slots=True)
class RotateSecret:
    keyrings: KeyringStore
    edge: EdgeSecrets
    clock: Clock
    tokens: TokenSource
    times: RotationTimes

    def tell_edge(self) -> Keyring:
        """Makes the edge know the secrets as they are, and notes since when it does.

        Raises:
            Unavailable: the edge may not know them; nothing is lost by that, the next call tells it.
            TryAgain: others kept writing to it at the same time.
        """
        for _ in range(MAX_ROUNDS):
            try:
                return self._told()
            except WriteConflict:
                logger.info("the edge was told something else meanwhile")
        raise TryAgain("too many at once tell the edge the signing secrets")

    def _told(self) -> Keyring:
        """One round of it.

        The edge is read before the ring, and the ring is noted as unknown before the edge is told: a ring that counts
        as known, as read here, has been known for as long as it says. Another call that writes meanwhile can take off
        that no more than the time that it runs itself, which SETTLE has to spare.

        Raises: Unavailable, WriteConflict.
        """
        knows = self.edge.read()
        ring = self.keyrings.read()
        if knows.secrets != ring.verifying:
            if ring.changed_at is not None:
                self.keyrings.write(unknown_to_edge(ring))
            self.edge.write(ring.verifying, knows)
        elif ring.changed_at is not None:
            return ring
        told = known_to_edge(ring, self.clock.now())
        self.keyrings.write(told)
        return told

    def __call__(self) -> Phase:
        """Takes the next step if it is time, and makes the edge know it.

        Whatever dies after any of the writes, the next call finds an edge or a ring that differs, tells the edge, and
        the phase begins then. A write that is lost to another call's takes back a step at most, never a secret that
        signs: both steps have it among those that verify.

        Raises: as tell_edge.
        """
        ring = self.tell_edge()
        following = advanced(ring, self.clock.now(), self.times, self.tokens.new() + self.tokens.new())
        if following is None:
            return ring.phase
        self.keyrings.write(following)
        logger.info("the signing secret's rotation went on", extra={"phase": following.phase})
        return self.tell_edge().phase
