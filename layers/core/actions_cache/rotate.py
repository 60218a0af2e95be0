"""Rotate the signing secret, one step at each call, and keep the edge informed of the secrets."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from actions_cache.domain.errors import TryAgain
from actions_cache.domain.signing import (
    Keyring,
    KnownToEdge,
    Phase,
    RotationTimes,
    advanced,
    known_to_edge,
    unknown_to_edge,
)
from actions_cache.ports import Clock, TokenSource, WriteConflict

logger = logging.getLogger(__name__)

MAX_ROUNDS = 3
"""Number of attempts to write the edge's secrets. The schedule and deploys are rare, so a third lost write is no
accident."""


class KeyringStore(Protocol):
    """Stores the signing secrets together with the state of their rotation.

    Functions read the same secrets through a cache (urls.SigningSecrets), so they know a change some minutes later.
    """

    def read(self) -> Keyring: ...

    def write(self, ring: Keyring) -> None: ...


class EdgeSecrets(Protocol):
    """Stores the secrets by which the edge verifies URLs."""

    def read(self) -> KnownToEdge: ...

    def write(self, secrets: Sequence[str], current: KnownToEdge) -> None:
        """Replace what was read; it takes the edge a while to notice.

        Raises:
            WriteConflict: something else was written since it was read.
        """
        ...


@dataclass(frozen=True, slots=True)
class RotateSecret:
    """Replaces the signing secret in steps, so that no URL fails that was signed before a step."""

    keyrings: KeyringStore
    edge: EdgeSecrets
    clock: Clock
    tokens: TokenSource
    times: RotationTimes

    def __call__(self) -> Phase:
        """Take the next step if it is time, make the edge know it, and return the phase.

        If this process dies after any of the writes, the next call finds that edge and keyring differ, tells the edge,
        and the phase starts then. A write that loses to another call's sets a step back at most. It never loses a
        secret that signs: before and after each step, that secret is among those that verify.

        Raises:
            Unavailable: the edge may not know the secrets; nothing is lost, since the next call tells it.
            TryAgain: others kept writing to the edge at the same time.
        """
        ring = self.tell_edge()
        following = advanced(ring, self.clock.now(), self.times, self.tokens.new() + self.tokens.new())
        if following is None:
            return ring.phase
        self.keyrings.write(following)
        logger.info("the signing secret's rotation went on", extra={"phase": following.phase})
        return self.tell_edge().phase

    def tell_edge(self) -> Keyring:
        """Make the edge know the current secrets, and record since when it does.

        Returns:
            The keyring, as it is now known to the edge.

        Raises:
            Unavailable: the edge may not know the secrets; nothing is lost, since the next call tells it.
            TryAgain: others kept writing to the edge at the same time.
        """
        for _ in range(MAX_ROUNDS):
            try:
                return self._try_to_tell_edge()
            except WriteConflict:
                logger.info("the edge was told something else meanwhile")
        raise TryAgain("too many at once tell the edge the signing secrets")

    def _try_to_tell_edge(self) -> Keyring:
        """Compare the edge with the keyring, and write to the edge if they differ.

        The edge is read before the keyring, and the keyring is marked as unknown before the edge is written: so a
        keyring that is read here as known has been known for as long as it says. Another call that writes meanwhile
        shortens that by the time that it runs at most, which SETTLE has to spare.

        Raises:
            Unavailable: a store doesn't answer.
            WriteConflict: another call wrote to the edge meanwhile.
        """
        known = self.edge.read()
        ring = self.keyrings.read()
        if known.secrets != ring.verifying:
            if ring.changed_at is not None:
                self.keyrings.write(unknown_to_edge(ring))
            self.edge.write(ring.verifying, known)
        elif ring.changed_at is not None:
            return ring
        updated = known_to_edge(ring, self.clock.now())
        self.keyrings.write(updated)
        return updated
