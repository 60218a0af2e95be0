r"""The secrets that sign URLs, and how one replaces another without a URL that fails.

    SETTLED --introduced--> INTRODUCED --promoted--> PROMOTED --retired--> SETTLED
    {current}           {current, next}        {current, previous}        {current}

The current one signs; all that are there verify, at the functions and at the edge. Timeline of one rotation, with
what would break if the wait after a step were skipped:

    step        signs   verify     wait                  or else
    introduced  old     old, new   SETTLE                whoever doesn't know the new one yet, a function or an edge,
                                                         refuses what it signs
    promoted    new     new, old   a URL's life, SETTLE  URLs that the old one signed are refused in mid-life, and so
                                                         is what functions that haven't noticed yet sign with it
    retired     new     new        the interval          (nothing: the next rotation may begin)

A wait counts from when the edge was seen to know the step, so an edge that couldn't be told delays a rotation and
breaks nothing.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from actions_cache.domain.timing import SECOND, Millis

SETTLE: Millis = 900 * SECOND
"""Until everybody knows a change, and what races can take off that. Functions believe what they read for 300 s, and for
720 s when it can't be read anew (adapters/secrets_manager.py); the edge's KeyValueStore spreads "within a few seconds",
says AWS, and promises nothing; of two runs of the rotation at once, one may undo what the other noted, each within its
function's 60 s. Longer: slower rotations. Shorter than what it takes: URLs that fail."""


class Phase(StrEnum):
    SETTLED = "settled"
    INTRODUCED = "introduced"
    PROMOTED = "promoted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyring:
    """Its secrets stay out of its repr, and so out of logs."""

    current: str = field(repr=False)
    next: str | None = field(default=None, repr=False)
    previous: str | None = field(default=None, repr=False)
    changed_at: Millis | None = None
    """When the edge was first seen to know it as it is; None before that."""

    @property
    def phase(self) -> Phase:
        if self.next is not None:
            return Phase.INTRODUCED
        return Phase.SETTLED if self.previous is None else Phase.PROMOTED

    @property
    def verifying(self) -> tuple[str, ...]:
        """All that verify; the first one signs."""
        return tuple(secret for secret in (self.current, self.next, self.previous) if secret is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationTimes:
    """How long each phase lasts."""

    interval: Millis
    """From one rotation's end to the next one's beginning."""
    url_life: Millis
    """Of the URL that lives longest."""

    def of(self, phase: Phase) -> Millis:
        match phase:
            case Phase.SETTLED:
                return self.interval
            case Phase.INTRODUCED:
                return SETTLE
            case Phase.PROMOTED:
                return self.url_life + SETTLE


def advanced(ring: Keyring, now: Millis, times: RotationTimes, new_secret: str) -> Keyring | None:
    """The ring of the next phase, not yet known to the edge; None until the present one has lasted.

    Args:
        ring: as it stands; the edge knows it.
        now: the moment.
        times: how long a phase lasts.
        new_secret: to introduce, should it come to that.
    """
    if ring.changed_at is None or now < ring.changed_at + times.of(ring.phase):
        return None
    match ring.phase:
        case Phase.SETTLED:
            return replace(ring, next=new_secret, changed_at=None)
        case Phase.INTRODUCED:
            return replace(ring, current=ring.next or ring.current, next=None, previous=ring.current, changed_at=None)
        case Phase.PROMOTED:
            return replace(ring, previous=None, changed_at=None)


def known_to_edge(ring: Keyring, now: Millis) -> Keyring:
    """Its phase lasts from now on."""
    return replace(ring, changed_at=now)


def unknown_to_edge(ring: Keyring) -> Keyring:
    """Its phase doesn't last yet, or no more."""
    return replace(ring, changed_at=None)
