"""What jobs did in an hour, as the page for people shows it."""

from dataclasses import dataclass, fields

from actions_cache.domain.timing import DAY, SECOND, Millis

HOUR: Millis = 3600 * SECOND

TALLIES_KEPT: Millis = 35 * DAY
"""Longer: older days can be looked at. Shorter: fewer items."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Bytes are those of the entries: what a client does with a URL that leads to S3, nobody here sees."""

    hits: int = 0
    misses: int = 0
    saves: int = 0
    bytes_restored: int = 0
    bytes_saved: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(**{it.name: getattr(self, it.name) + getattr(other, it.name) for it in fields(self)})


@dataclass(frozen=True, slots=True)
class Hits:
    """How often an entry was found, and when last: to the moment, unlike an archive's `last_used_at`."""

    count: int = 0
    last_at: Millis = 0


NO_HITS = Hits()


def hour_of(at: Millis) -> Millis:
    return at - at % HOUR
