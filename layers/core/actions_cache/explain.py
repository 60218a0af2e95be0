"""What a key would restore, and why: a lookup that notes no use and touches no byte."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from actions_cache.archives import READ_AT_ONCE, Reading
from actions_cache.domain.archive import Archive
from actions_cache.domain.entry import Entry, EntryFamily, EntryName
from actions_cache.domain.errors import InvalidRequest
from actions_cache.domain.timing import Millis
from actions_cache.ports import Clock, Table

MOST_ELSEWHERE = 20

MAX_REFS = 10
"""A job's token has three: its own ref, its base's and the default branch."""

MAX_READS = 1000
"""Of prefixes, of some 5 ms each, one after the other. Many more, and API Gateway gives up on the answer, at 29 s."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a job asks.

    Args:
        scopes: those that its token lets it read, in the order in which they are searched.
        version: None for each that a key like these was saved with.
    """

    repository: str
    scopes: tuple[str, ...]
    version: str | None
    key: str
    restore_keys: tuple[str, ...] = ()

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The key is one too, before the restore keys."""
        return tuple(dict.fromkeys((self.key, *self.restore_keys)))

    @property
    def refs(self) -> tuple[str, ...]:
        """The scopes, each once."""
        return tuple(dict.fromkeys(self.scopes))


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a lookup asks in a scope: for the key itself, or for the newest entry whose key begins so."""

    scope: str
    key: str
    is_exact: bool
    found: Entry | None


@dataclass(frozen=True, slots=True)
class Match:
    version: str
    attempts: tuple[Attempt, ...]
    """Up to the first that found something."""

    @property
    def found(self) -> Entry | None:
        """What is restored."""
        return self.attempts[-1].found if self.attempts else None


@dataclass(frozen=True, slots=True)
class Explanation:
    matches: tuple[Match, ...]
    """Of each version that was asked for."""
    alike: tuple[Archive, ...]
    """Where nothing was found: what begins with one of the keys, in whatever scope and version; by its last use."""


@dataclass(frozen=True, slots=True)
class MatchKeys:
    """Decides as a lookup does (lookup.py); a test holds the two together."""

    table: Table
    clock: Clock
    reading_time: Millis | None
    """Time that reading may take; None for as much as it needs."""

    def __call__(self, question: Question) -> Explanation:
        """Raises: InvalidRequest for a question that takes too long."""
        alike = () if question.version else self._alike(question)
        versions = (question.version,) if question.version else dict.fromkeys(it.name.family.version for it in alike)
        _check_reads(question, len(versions))
        matches = tuple(self._match(question, version) for version in versions)
        if any(match.found for match in matches):
            return Explanation(matches, ())
        return Explanation(matches, alike or self._alike(question))

    def _match(self, question: Question, version: str) -> Match:
        attempts: list[Attempt] = []
        for attempt in self._attempts(question, version):
            attempts.append(attempt)
            if attempt.found is not None:
                break
        return Match(version, tuple(attempts))

    def _attempts(self, question: Question, version: str) -> Iterator[Attempt]:
        names = [EntryName(EntryFamily(question.repository, it, version), question.key) for it in question.refs]
        exact = self.table.entries(names)
        for name in names:
            yield Attempt(name.family.scope, question.key, is_exact=True, found=exact.get(name))
            for prefix in question.prefixes:
                found = self.table.newest_entry(name.family, prefix)
                yield Attempt(name.family.scope, prefix, is_exact=False, found=found)

    def _alike(self, question: Question) -> tuple[Archive, ...]:
        """Return the most recently used candidates, as many as there is time for."""
        stored = self.table.stored_archives(question.repository, newest_use_first=True, at_once=READ_AT_ONCE)
        until = None if self.reading_time is None else self.clock.now() + self.reading_time
        alike = (it for it in Reading(stored, self.clock, until) if it.name.key.startswith(question.prefixes))
        return tuple(islice(alike, MOST_ELSEWHERE))


def _check_reads(question: Question, versions: int) -> None:
    """Raises: InvalidRequest."""
    refs, keys = len(question.refs), len(question.prefixes)
    if refs > MAX_REFS:
        raise InvalidRequest(f"{refs} refs are asked for; at most {MAX_REFS} are allowed, and a job's token has three")
    reads = refs * keys * versions
    if reads > MAX_READS:
        raise InvalidRequest(
            f"{refs} refs, {keys} keys and {versions} versions take {reads} reads; at most {MAX_READS} are made: "
            "give a version, or fewer refs or restore keys"
        )
