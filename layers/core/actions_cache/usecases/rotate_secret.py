"""The signing secret's rotation, a step a call, and what the edge knows of it."""

import logging
from dataclasses import dataclass

from actions_cache.domain.keyring import Keyring, Phase, RotationTimes, advanced, known_to_edge, unknown_to_edge
from actions_cache.ports import Clock, EdgeSecrets, KeyringStore, TokenSource

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RotateSecret:
    keyrings: KeyringStore
    edge: EdgeSecrets
    clock: Clock
    tokens: TokenSource
    times: RotationTimes

    def tell_edge(self) -> Keyring:
        """Makes the edge know the secrets as they are, and notes since when it does.

        The edge is read before the ring, and the ring is noted as unknown before the edge is told: a ring that counts
        as known, as read here, has been known for as long as it says, whatever another call does meanwhile.

        Raises: Unavailable, WriteConflict: the edge may not know them; nothing is lost by that.
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
        """
        ring = self.tell_edge()
        following = advanced(ring, self.clock.now(), self.times, self.tokens.new() + self.tokens.new())
        if following is None:
            return ring.phase
        self.keyrings.write(following)
        logger.info("the signing secret's rotation went on", extra={"phase": following.phase})
        return self.tell_edge().phase
