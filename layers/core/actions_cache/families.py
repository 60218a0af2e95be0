"""Show how often the keys of each family hit and miss, and what they matched instead."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from actions_cache.archives import READ_AT_ONCE, Reading
from actions_cache.domain.budgets import HOUR, NO_USAGE, Tally, Usage, hour_of
from actions_cache.domain.key_family import MAX_PAIRS, key_family
from actions_cache.domain.timing import Millis
from actions_cache.ports import Clock, Repositories, Table

MOST_SHOWN = MAX_PAIRS
"""Families shown one by one. Each hour may have counted other ones, and every entry may have one of its own."""


@dataclass(slots=True)
class FamilyActivity:
    """Holds what jobs did with the keys of one family.

    Args:
        tally: the lookups by these keys, with the bytes that they restored, and the saves.
        stored: the entries that have such a key now.
        matched: partial hits by the family of the entry that was restored.
    """

    tally: Tally = field(default_factory=Tally)
    stored: Usage = NO_USAGE
    matched: Counter[str] = field(default_factory=Counter)

    @property
    def lookups(self) -> int:
        return self.tally.hits + self.tally.misses

    @property
    def exact_hits(self) -> int:
        return self.tally.hits - self.tally.partial_hits

    @property
    def hit_rate(self) -> float | None:
        """Return the share of lookups that restored something; None if there was none."""
        return self.tally.hits / self.lookups if self.lookups else None

    def add(self, other: "FamilyActivity") -> None:
        self.tally += other.tally
        self.stored += other.stored
        self.matched += other.matched


@dataclass(frozen=True, slots=True)
class Families:
    """Shows a repository's key families.

    Args:
        since: beginning of the first hour that is counted.
        families: MOST_SHOWN of them at most, those with the most misses first.
        rest: all other families together.
        is_whole: false if there was no time for the earliest hours, or for the entries unused the longest.
    """

    since: Millis
    families: Mapping[str, FamilyActivity]
    rest: FamilyActivity
    is_whole: bool


@dataclass(frozen=True, slots=True)
class ReadFamilies:
    """Reads the activity and the stored entries of a repository by key family.

    Args:
        reading_time: time that reading may take; None for as much as it needs.
    """

    table: Table
    repositories: Repositories
    clock: Clock
    reading_time: Millis | None

    def __call__(self, repository_id: str, hours: int) -> Families:
        """Return the families of this hour and those before it.

        Args:
            repository_id: the repository's id.
            hours: number of hours.
        """
        now = self.clock.now()
        since = hour_of(now) - (hours - 1) * HOUR
        until = None if self.reading_time is None else now + self.reading_time
        found: dict[str, FamilyActivity] = {}
        rest = FamilyActivity()
        tallies = Reading(self.repositories.tallies_by_family(repository_id, since), self.clock, until)
        for pair, tally in tallies:
            if pair is None:
                rest.add(FamilyActivity(tally))
                continue
            matched = Counter({pair.matched or pair.asked: tally.partial_hits})
            found.setdefault(pair.asked, FamilyActivity()).add(FamilyActivity(tally, matched=matched))
        stored = Reading(
            self.table.stored_archives(repository_id, newest_use_first=True, at_once=READ_AT_ONCE), self.clock, until
        )
        for archive in stored:
            activity = FamilyActivity(stored=Usage.of(archive))
            found.setdefault(key_family(archive.name.key), FamilyActivity()).add(activity)
        ordered = sorted(found.items(), key=_most_misses_first)
        for _, activity in ordered[MOST_SHOWN:]:
            rest.add(activity)
        return Families(since, dict(ordered[:MOST_SHOWN]), rest, tallies.is_whole and stored.is_whole)


def _most_misses_first(item: tuple[str, FamilyActivity]) -> tuple[int, int, int, int, str]:
    family, activity = item
    tally = activity.tally
    return -tally.misses, -tally.partial_hits, -tally.hits, -activity.stored.bytes, family
