"""Explain what a key would restore, and why: a lookup that records no use and touches no object."""

from dataclasses import dataclass
from itertools import islice

from actions_cache.archives import READ_AT_ONCE, Reading
from actions_cache.domain.archive import Archive
from actions_cache.domain.entry import Entry
from actions_cache.domain.errors import InvalidRequest
from actions_cache.domain.search import Search
from actions_cache.domain.timing import Millis
from actions_cache.ports import Clock, Table

MOST_ELSEWHERE = 20
"""Candidates shown at most where nothing matches."""

MAX_REFS = 10
"""Refs that one request may name. A job's token has three: its own ref, its base's and the default branch."""

MAX_READS = 1000
"""Prefix queries that one request may cost, of some 5 ms each, one after the other. With many more, API Gateway gives
up on the answer, at 29 s."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One probe of a lookup (domain/search.py), and the entry that it finds."""

    scope: str
    key: str
    is_exact: bool
    found: Entry | None


@dataclass(frozen=True, slots=True)
class Match:
    """Holds what a lookup with one version does."""

    version: str
    attempts: tuple[Attempt, ...]
    """Attempts up to the first that finds something."""

    @property
    def found(self) -> Entry | None:
        """Return the entry that is restored, if any."""
        return self.attempts[-1].found if self.attempts else None


@dataclass(frozen=True, slots=True)
class Explanation:
    matches: tuple[Match, ...]
    """One match for each version that was searched."""
    alike: tuple[Archive, ...]
    """Archives whose key begins with one of the keys, in any scope and version, by last use; empty if something was
    found."""


@dataclass(frozen=True, slots=True)
class MatchKeys:
    """Answers which entry a job would restore, by the lookup's own search order.

    Args:
        reading_time: milliseconds that reading a repository may take; None for as long as it needs.
    """

    table: Table
    clock: Clock
    reading_time: Millis | None

    def __call__(self, search: Search, version: str | None = None) -> Explanation:
        """Explain a search.

        Args:
            search: what the job looks for.
            version: the job's; None for each version that a key like these was saved with.

        Raises:
            InvalidRequest: the search would take too long.
        """
        alike = () if version else self._alike(search)
        versions = (version,) if version else dict.fromkeys(archive.name.family.version for archive in alike)
        _check_reads(search, len(versions))
        matches = tuple(self._match(search, each) for each in versions)
        if any(match.found for match in matches):
            return Explanation(matches, ())
        return Explanation(matches, alike or self._alike(search))

    def _match(self, search: Search, version: str) -> Match:
        probes = list(search.probes(version))
        exact = self.table.entries([probe.name for probe in probes if probe.is_exact])
        attempts: list[Attempt] = []
        for probe in probes:
            found = exact.get(probe.name) if probe.is_exact else self.table.newest_entry(probe.family, probe.key)
            attempts.append(Attempt(probe.family.scope, probe.key, probe.is_exact, found))
            if found is not None:
                break
        return Match(version, tuple(attempts))

    def _alike(self, search: Search) -> tuple[Archive, ...]:
        """Return the most recently used candidates, as many as there is time for."""
        stored = self.table.stored_archives(search.repository, newest_use_first=True, at_once=READ_AT_ONCE)
        until = None if self.reading_time is None else self.clock.now() + self.reading_time
        reading = Reading(stored, self.clock, until)
        alike = (archive for archive in reading if archive.name.key.startswith(search.prefixes))
        return tuple(islice(alike, MOST_ELSEWHERE))


def _check_reads(search: Search, versions: int) -> None:
    """Check that the search stays within MAX_REFS and MAX_READS.

    Raises:
        InvalidRequest: it doesn't.
    """
    refs, keys = len(search.refs), len(search.prefixes)
    if refs > MAX_REFS:
        raise InvalidRequest(f"{refs} refs are asked for; at most {MAX_REFS} are allowed, and a job's token has three")
    reads = refs * keys * versions
    if reads > MAX_READS:
        raise InvalidRequest(
            f"{refs} refs, {keys} keys and {versions} versions take {reads} reads; at most {MAX_READS} are made: "
            "give a version, or fewer refs or restore keys"
        )
