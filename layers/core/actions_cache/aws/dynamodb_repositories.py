"""The table of repositories in DynamoDB. The beginning of its sort key tells the kind of an item.

- `*`, `repository#ID`: the existence of a repository, its name, and where there are very many, what it keeps, as it was
  noted last.
- ID, `profile`: the name of a repository.
- `name#OWNER/REPO`, ID: a repository that has had this name, in lower case.
- ID or `*`, `usage#SHARD`: bytes and entries of a repository, or of the store, in all and of some classes.
- ID, `creates#MINUTE`: the number of uploads that were begun.
- ID, `tally#HOUR#PAIR#SHARD`: the activity of jobs about a pair of key families, PAIR being their digest.
- ID, `tally#HOUR#SHARD`: the activity about all other key families.
- ID, `hits#ARCHIVE`: the number of times that an entry was found.
- ID, `hits#ARCHIVE#SHARD`: further hits of an entry that one process found often.
- `refused`, `refused#SLOT`: a repository whose jobs TOKEN_CLAIMS keeps out. This is a partition of its own because
  every save writes to `*`.
"""

import hashlib
import json
import secrets
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, fields
from itertools import groupby

from pydantic import TypeAdapter
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.transactions import TransactWrite

from actions_cache.aws.dynamodb_items import Database, RepositoryItem, get, transact, translate_errors, write
from actions_cache.domain.budgets import NO_HITS, TALLIES_KEPT, Hits, Repository, RepositoryUsage, Tally, Usage, total
from actions_cache.domain.key_family import FamilyPair
from actions_cache.domain.refused_job import SLOT_PAUSE, Refusals, RefusedJob
from actions_cache.domain.timing import SECOND, Millis
from actions_cache.ports import WriteConflict

STORE = "*"
"""Partition for all repositories. It can't be a repository's id: those of github.com are digits, and those of other
issuers have an `@` (domain/access.py)."""

REFUSED = "refused"
"""Partition for refused jobs. It can't be a repository's id either."""

SHARDS = 16
"""Items of each count. More: concurrent writers meet less often at the same item. Fewer: reading a count reads fewer
items."""

PAIR_SHARDS = 4
"""Items of each pair of key families in an hour. More: jobs that ask for the same family at once meet less often at the
same item. Fewer: reading the activity of a repository with many families reads fewer items."""

OFTEN: Millis = 10 * SECOND
"""Time between two hits of an entry in one process up to which the second one is counted in a shard. Longer: more items
for entries that aren't found that often. Shorter: more processes meet at the same item, which takes some 1,000 writes a
second: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html."""

MAX_RECENT = 1_000
"""Entries whose last hits a process remembers. At the limit it forgets all, and begins anew."""

AFTER_NUMBER_SIGN = "$"
"""The character after `#` in the order of sort keys."""

CREATES_KEPT_SECONDS = 3600
"""Seconds for which the count of uploads in a minute is kept; the rate limit reads only the current one."""

_JOB: TypeAdapter[RefusedJob] = TypeAdapter(RefusedJob)


class DynamoDbRepositories:
    """See ports.Repositories."""

    def __init__(self, database: Database, repositories: str) -> None:
        self._connection = database.connection
        self._items = database.bind(RepositoryItem, repositories)
        self._recent: dict[str, Millis] = {}

    def note(self, repository: Repository) -> None:
        # The profile is written last, because it shows that the other items exist.
        if (name := repository.name) is not None:
            write(lambda: self._items(_partition_of(name), repository.id).save())
        named = RepositoryItem.name.remove() if name is None else RepositoryItem.name.set(name)
        write(lambda: self._items(STORE, f"repository#{repository.id}").update([named]))
        known = self._items(repository.id, "profile", name=repository.name, noted_at=repository.noted_at)
        write(known.save)

    def repository(self, repository_id: str) -> Repository | None:
        found = get(self._items, repository_id, "profile")
        return None if found is None else Repository(repository_id, found.name, int(found.noted_at))

    def ids(self) -> Sequence[str]:
        return [item.item.removeprefix("repository#") for item in self._query(STORE, "repository#")]

    def noted_usages(self) -> Mapping[str, RepositoryUsage | None]:
        found = self._query(STORE, "repository#")
        return {(repository_id := item.item.removeprefix("repository#")): _noted(repository_id, item) for item in found}

    def note_usage(self, usage: RepositoryUsage) -> None:
        repository, name = usage.repository, usage.repository.name
        noted: list[Action] = [
            RepositoryItem.name.remove() if name is None else RepositoryItem.name.set(name),
            RepositoryItem.bytes.set(usage.usage.bytes),
            RepositoryItem.entries.set(usage.usage.entries),
            RepositoryItem.last_used_at.set(usage.last_used_at or 0),
            RepositoryItem.noted_at.set(usage.noted_at),
        ]
        write(lambda: self._items(STORE, f"repository#{repository.id}").update(noted))

    def some_ids(self, most: int) -> Sequence[str]:
        """Read on from a random place among the ids. Those of github.com are numbers, with any first digit."""
        begin = f"repository#{secrets.randbelow(10**9):09d}"
        after = RepositoryItem.item.between(begin, f"repository{AFTER_NUMBER_SIGN}")
        before = RepositoryItem.item.between("repository#", begin)
        found: dict[str, None] = {}
        for place in (after, before):
            if len(found) < most:
                items = self._query(STORE, place, most)
                found |= dict.fromkeys(item.item.removeprefix("repository#") for item in items)
        return [*found][:most]

    def ids_named(self, name: str) -> Sequence[str]:
        return [item.item for item in self._query(_partition_of(name), "")]

    def usage(self, repository_id: str) -> Usage:
        items = self._query(repository_id, "usage#")
        return total(map(_usage, items))

    def store_usage(self) -> Usage:
        return self.usage(STORE)

    def correct_usage(self, repository_id: str, change: Usage) -> None:
        transact(self._connection, lambda items: add_usage(items, self._items, {repository_id: change}))

    def correct_store_usage(self, change: Usage) -> None:
        transact(self._connection, lambda items: items.update(self._items(STORE, f"usage#{_shard()}"), _added(change)))

    def count_create(self, repository_id: str, minute: int) -> int:
        item = self._items(repository_id, f"creates#{minute}")
        expires_at = RepositoryItem.expires_at.set(minute * 60 + CREATES_KEPT_SECONDS)
        write(lambda: item.update([RepositoryItem.creates.add(1), expires_at]))
        return int(item.creates)

    def add_tally(self, repository_id: str, hour: Millis, tally: Tally, pair: FamilyPair | None = None) -> None:
        item = self._items(repository_id, f"{_hour(hour)}{_shard() if pair is None else _shard_of(pair)}")
        more: list[Action] = [
            RepositoryItem.hits.add(tally.hits),
            RepositoryItem.partial_hits.add(tally.partial_hits),
            RepositoryItem.misses.add(tally.misses),
            RepositoryItem.saves.add(tally.saves),
            RepositoryItem.bytes_restored.add(tally.bytes_restored),
            RepositoryItem.bytes_saved.add(tally.bytes_saved),
            RepositoryItem.bytes_direct.add(tally.bytes_direct),
            RepositoryItem.expires_at.set((hour + TALLIES_KEPT) // SECOND),
        ]
        if pair is not None:
            more.append(RepositoryItem.family.set(pair.asked))
            if pair.matched is not None:
                more.append(RepositoryItem.matched_family.set(pair.matched))
        write(lambda: item.update(more))

    def tallies(self, repository_id: str, since: Millis) -> Mapping[Millis, Tally]:
        found: defaultdict[Millis, Tally] = defaultdict(Tally)
        for item in self._tally_items(repository_id, since):
            found[int(item.item.split("#")[1])] += _tally(item)
        return dict(found)

    def tallies_by_family(self, repository_id: str, since: Millis) -> Iterator[tuple[FamilyPair | None, Tally]]:
        return ((_pair(item), _tally(item)) for item in self._tally_items(repository_id, since, latest_first=True))

    def _tally_items(
        self, repository_id: str, since: Millis, *, latest_first: bool = False
    ) -> Iterator[RepositoryItem]:
        of_these_hours = RepositoryItem.item.between(f"tally#{max(0, since):015d}", f"tally{AFTER_NUMBER_SIGN}")
        with translate_errors():
            yield from self._items.query(
                repository_id, of_these_hours, consistent_read=True, scan_index_forward=not latest_first
            )

    def family_pairs(self, repository_id: str, hour: Millis) -> AbstractSet[FamilyPair]:
        with translate_errors():
            # A read that may lag costs half, and is repeated before a pair is added.
            items = self._items.query(repository_id, RepositoryItem.item.startswith(_hour(hour)), consistent_read=False)
            return frozenset(pair for pair in map(_pair, items) if pair is not None)

    def add_hit(self, repository_id: str, archive_id: str, at: Millis, forget_at: Millis) -> None:
        more: list[Action] = [
            RepositoryItem.hits.add(1),
            RepositoryItem.last_hit_at.set(at),
            RepositoryItem.expires_at.set(forget_at // SECOND),
        ]
        item = f"hits#{archive_id}#{_shard()}" if self._is_often(archive_id, at) else f"hits#{archive_id}"
        write(lambda: self._items(repository_id, item).update(more))

    def _is_often(self, archive_id: str, at: Millis) -> bool:
        """Return whether this process found the entry just before, as it does when very many jobs ask for it."""
        before = self._recent.get(archive_id)
        if len(self._recent) >= MAX_RECENT:
            self._recent.clear()
        self._recent[archive_id] = at
        return before is not None and at - before < OFTEN

    def hits_of(self, repository_id: str, archive_id: str) -> Hits:
        return sum(map(_hits, self._query(repository_id, f"hits#{archive_id}")), NO_HITS)

    def hits(self, repository_id: str) -> Iterator[tuple[str, Hits]]:
        of_each = groupby(self._query(repository_id, "hits#"), key=lambda item: item.item.split("#")[1])
        return ((archive_id, sum(map(_hits, items), NO_HITS)) for archive_id, items in of_each)

    def add_refusals(self, refusals: Refusals, forget_at: Millis) -> None:
        job = refusals.job
        item = self._items(REFUSED, f"refused#{job.slot:02d}")
        repository = f"{job.repository_id}@{job.issuer}"
        last = [
            RepositoryItem.job.set(asdict(job)),
            RepositoryItem.noted_at.set(refusals.last_at),
            RepositoryItem.expires_at.set(forget_at // SECOND),
        ]
        same = RepositoryItem.refused_repository == repository
        free = RepositoryItem.noted_at.does_not_exist() | (RepositoryItem.noted_at <= refusals.last_at - SLOT_PAUSE)
        try:
            write(lambda: item.update([RepositoryItem.times.add(refusals.times), *last], condition=same))
        except WriteConflict:
            taken = [RepositoryItem.refused_repository.set(repository), RepositoryItem.times.set(refusals.times)]
            write(lambda: item.update([*taken, *last], condition=free))

    def refusals(self) -> Sequence[Refusals]:
        return [_refusals(item) for item in self._query(REFUSED, "refused#")]

    def _query(self, partition: str, place: str | Condition, most: int | None = None) -> Iterator[RepositoryItem]:
        """Read a partition's items: those that begin so or meet the condition, at most so many."""
        condition = place if isinstance(place, Condition) else RepositoryItem.item.startswith(place) if place else None
        with translate_errors():
            yield from self._items.query(partition, condition, consistent_read=True, limit=most, page_size=most)


def add_usage(transaction: TransactWrite, items: type[RepositoryItem], changes: Mapping[str, Usage]) -> None:
    """Add to the usage in the transaction that changes it, so that the counts stay right after any crash.

    Args:
        transaction: the transaction.
        items: the table of repositories.
        changes: what is added to each repository's usage, and to the store's.
    """
    shard = _shard()
    for partition, change in (*changes.items(), (STORE, total(changes.values()))):
        transaction.update(items(partition, f"usage#{shard}"), _added(change))


def _added(usage: Usage) -> list[Action]:
    return [getattr(RepositoryItem, name).add(number) for name, number in asdict(usage).items()]


def _usage(item: RepositoryItem) -> Usage:
    return Usage(**{field.name: int(getattr(item, field.name) or 0) for field in fields(Usage)})


def _noted(repository_id: str, item: RepositoryItem) -> RepositoryUsage | None:
    if not item.noted_at:
        return None
    noted_at = int(item.noted_at)
    usage = Usage(bytes=int(item.bytes or 0), entries=int(item.entries or 0))
    repository = Repository(repository_id, item.name, noted_at)
    return RepositoryUsage(repository, usage, int(item.last_used_at or 0) or None, noted_at)


def _hits(item: RepositoryItem) -> Hits:
    return Hits(int(item.hits or 0), int(item.last_hit_at or 0))


def _refusals(item: RepositoryItem) -> Refusals:
    return Refusals(_JOB.validate_python(item.job), int(item.times or 0), int(item.noted_at or 0))


def _tally(item: RepositoryItem) -> Tally:
    return Tally(
        hits=int(item.hits or 0),
        partial_hits=int(item.partial_hits or 0),
        misses=int(item.misses or 0),
        saves=int(item.saves or 0),
        bytes_restored=int(item.bytes_restored or 0),
        bytes_saved=int(item.bytes_saved or 0),
        bytes_direct=int(item.bytes_direct or 0),
    )


def _pair(item: RepositoryItem) -> FamilyPair | None:
    return FamilyPair(item.family, item.matched_family) if item.family else None


def _hour(hour: Millis) -> str:
    return f"tally#{hour:015d}#"


def _shard_of(pair: FamilyPair) -> str:
    digest = hashlib.sha256(json.dumps([pair.asked, pair.matched]).encode()).hexdigest()[:16]
    return f"{digest}#{secrets.randbelow(PAIR_SHARDS)}"


def _partition_of(name: str) -> str:
    return f"name#{name.lower()}"


def _shard() -> int:
    return secrets.randbelow(SHARDS)
