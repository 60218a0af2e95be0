"""The tables of entries, reservations and archives in DynamoDB, with pynamodb."""

import heapq
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from pydantic import TypeAdapter
from pynamodb.connection import Connection
from pynamodb.expressions.condition import Condition
from pynamodb.pagination import ResultIterator
from pynamodb.transactions import TransactWrite

from actions_cache.aws.dynamodb_items import (
    DUE_SHARDS,
    FAILED_SHARD,
    ArchiveItem,
    Database,
    EntryItem,
    RepositoryItem,
    ReservationItem,
    UseIndex,
    archive_attributes,
    batch_get,
    entry_attributes,
    get,
    reservation_attributes,
    to_archive,
    transact,
    translate_errors,
    use_keys,
    write,
)
from actions_cache.aws.dynamodb_repositories import add_usage
from actions_cache.domain.archive import Archive
from actions_cache.domain.budgets import Usage
from actions_cache.domain.entry import Entry, EntryFamily, EntryName, Reservation, sort_key_prefix
from actions_cache.domain.entry_class import EntryClass
from actions_cache.domain.schema import Schema
from actions_cache.domain.timing import Millis
from actions_cache.ports import WriteConflict

PREFIX_PAGE = 100
"""Entries in a page of a query: some 40 KB. Nearly every prefix in use matches fewer. More: larger pages, of which less
may be needed. Fewer: more requests."""

FIRST_PAGE = 11
"""Entries that a prefix is first asked for: they fit the 4 KB of one read unit. More: units that are seldom needed.
Fewer: more prefixes need another query."""

SCHEMA_KEY = "schema"
"""Key of the schema version in the table of archives, where it can't be an archive's id: those have 32 digits."""

_BATCH_ITEM = {"archive_id": {"S": "cleanup batch"}}
"""Key of what note_batch writes. It isn't in the index, nor can it be an archive's id."""

_SCHEMA: TypeAdapter[Schema] = TypeAdapter(Schema)


class DynamoDbTable:
    """See ports.Table."""

    def __init__(
        self,
        database: Database,
        *,
        entries: str,
        reservations: str,
        archives: str,
        repositories: str,
        due_at: Callable[[Archive], Millis],
    ) -> None:
        """Use the tables with these names.

        Args:
            database: The connection to DynamoDB.
            entries: The name of the table of entries.
            reservations: The name of the table of reservations.
            archives: The name of the table of archives.
            repositories: The name of the table of repositories, where entries are counted.
            due_at: Returns the due time of an archive's next cleanup task. Each write calls it, so that no writer can
                forget the schedule.
        """
        self._connection = database.connection
        self._entries = database.bind(EntryItem, entries)
        self._reservations = database.bind(ReservationItem, reservations)
        self._archives = database.bind(ArchiveItem, archives)
        self._repositories = database.bind(RepositoryItem, repositories)
        self._due_at = due_at

    # ---------------------------------------------------------------- reads

    def entry(self, name: EntryName) -> Entry | None:
        item = get(self._entries, name.family.partition, name.sort_key)
        return item.to_entry() if item else None

    def entries(self, names: Sequence[EntryName]) -> Mapping[EntryName, Entry]:
        keys = [{"partition": name.family.partition, "sort_key": name.sort_key} for name in names]
        found = [item.to_entry() for item in batch_get(self._entries, keys)]
        return {entry.name: entry for entry in found}

    def newest_entry(self, family: EntryFamily, prefix: str) -> Entry | None:
        """Read what matches if it is little; if not, read from the newest entry on.

        In the second case, so much matches that one is found soon. Each way is tried with a small page first, so that a
        prefix that very many entries have costs little more than one that few have. A miss reads nothing but the index.
        """
        begins, has_prefix = EntryItem.sort_key.startswith(sort_key_prefix(prefix)), EntryItem.key.startswith(prefix)

        def matching(most: int, read: _Found = NOTHING_FOUND) -> _Found:
            items = self._entries.query(
                family.partition,
                begins,
                last_evaluated_key=read.last_key,
                consistent_read=True,
                page_size=most,
                limit=most,
            )
            return _Found.of(items, prefix, read)

        def latest(last_key: dict[str, Any] | None = None, **options: Any) -> ResultIterator[EntryItem]:
            return self._entries.newest.query(
                family.partition,
                last_evaluated_key=last_key,
                consistent_read=True,
                scan_index_forward=False,
                **options,
            )

        with translate_errors():
            few = matching(FIRST_PAGE)
            if few.is_whole:
                return few.newest
            last_few = _Found.of(latest(page_size=FIRST_PAGE, limit=FIRST_PAGE), prefix)
            if last_few.newest is not None or last_few.is_whole:
                return last_few.newest
            more = matching(PREFIX_PAGE, few)
            if more.is_whole:
                return more.newest
            item = next(latest(last_few.last_key, filter_condition=has_prefix, page_size=PREFIX_PAGE), None)
            return item.to_entry() if item else None

    def reservation(self, name: EntryName) -> Reservation | None:
        item = get(self._reservations, name.family.partition, name.sort_key)
        return item.to_reservation(name) if item else None

    def archive(self, archive_id: str) -> Archive | None:
        item = get(self._archives, archive_id)
        return item.to_archive() if item else None

    def archives(self, ids: Sequence[str]) -> Mapping[str, Archive]:
        found = batch_get(self._archives, [{"archive_id": archive_id} for archive_id in ids])
        return {item.archive_id: item.to_archive() for item in found}

    def noted_batch(self) -> frozenset[str]:
        with translate_errors():
            item = self._dispatch("GetItem", Key=_BATCH_ITEM, ConsistentRead=True).get("Item", {})
        return frozenset(item.get("ids", {"S": ""})["S"].split())

    def note_batch(self, ids: Sequence[str]) -> None:
        write(lambda: self._dispatch("PutItem", Item={**_BATCH_ITEM, "ids": {"S": " ".join(ids)}}))

    def _dispatch(self, operation: str, **arguments: Any) -> Mapping[str, Any]:
        """Call DynamoDB about an item of the table of archives that is no archive."""
        name = self._archives.Meta.table_name
        response: Mapping[str, Any] = self._connection.dispatch(operation, {"TableName": name} | arguments)
        return response

    def due_archives(self, now: Millis) -> Iterator[str]:
        """Read the shards in random order, so that runs that end early don't neglect the same ones every time."""
        for shard in random.sample(DUE_SHARDS, len(DUE_SHARDS)):
            with translate_errors():
                due = self._archives.agenda.query(shard, ArchiveItem.due_at <= now, page_size=PREFIX_PAGE)
                yield from (item.archive_id for item in due)

    def stored_archives(
        self,
        repository: str,
        *,
        entry_class: EntryClass | None = None,
        newest_use_first: bool = False,
        at_once: int | None = None,
    ) -> Iterator[Archive]:
        page_size = at_once or PREFIX_PAGE

        def filed(under: EntryClass) -> Iterator[Archive]:
            keys = ArchiveItem.use_key.between(*use_keys(under))
            query = {
                "range_key_condition": keys,
                "index_name": UseIndex.Meta.index_name,
                "limit": page_size,
                "scan_index_forward": not newest_use_first,
            }
            with translate_errors():
                connection = self._archives._get_connection()  # noqa: SLF001 - the only way to a model's connection
                yield from ResultIterator(connection.query, [repository], query, map_fn=to_archive)

        if entry_class is not None:
            return filed(entry_class)
        return heapq.merge(*map(filed, EntryClass), key=lambda archive: archive.last_used_at, reverse=newest_use_first)

    def failed_archives(self) -> Iterator[str]:
        with translate_errors():
            failed = self._archives.agenda.query(FAILED_SHARD, page_size=PREFIX_PAGE, scan_index_forward=False)
            yield from (item.archive_id for item in failed)

    def known_archives(self, ids: Sequence[str]) -> frozenset[str]:
        found = batch_get(self._archives, [{"archive_id": archive_id} for archive_id in ids], ["archive_id"])
        return frozenset(item.archive_id for item in found)

    def all_archives(self, after: str) -> Iterator[tuple[str, bool]]:
        with translate_errors():
            scan = self._archives.scan(
                ArchiveItem.agenda_shard.exists(),
                last_evaluated_key={"archive_id": {"S": after}} if after else None,
                page_size=PREFIX_PAGE,
                consistent_read=True,
            )
            yield from ((item.archive_id, self._is_outdated(item)) for item in scan)

    def check(self) -> None:
        for model in (self._entries, self._reservations, self._repositories):
            get(model, "health", "health")
        get(self._archives, "health")

    # ---------------------------------------------------------------- writes

    def replace_archive(self, current: Archive, updated: Archive) -> Archive:
        write(lambda: self._archive_item(current, updated).save())
        return _as_written(current, updated)

    def reserve(self, archive: Archive, now: Millis) -> None:
        entry_absent = EntryItem.partition.does_not_exist()
        reservation_absent = ReservationItem.partition.does_not_exist()
        reservation_expired = ReservationItem.expires_at <= now

        def fill(items: TransactWrite) -> None:
            family, sort_key = archive.name.family, archive.name.sort_key
            items.condition_check(self._entries, family.partition, sort_key, condition=entry_absent)
            items.save(self._reservation_item(archive.reservation), reservation_absent | reservation_expired)
            items.save(self._archive_item(archive, archive))

        transact(self._connection, fill)

    def publish_entry(self, current: Archive, updated: Archive) -> Archive:
        def fill(items: TransactWrite) -> None:
            items.save(self._entries(**entry_attributes(updated.entry)), EntryItem.partition.does_not_exist())
            items.delete(self._reservation_item(current.reservation), _holds_for(ReservationItem, current.id))
            items.save(self._archive_item(current, updated))
            self._count(items, {updated.name.family.repository: Usage.of(updated)})

        transact(self._connection, fill)
        return _as_written(current, updated)

    def remove_entry(self, current: Archive, updated: Archive) -> Archive:
        self.remove_entries([(current, updated)])
        return _as_written(current, updated)

    def remove_entries(self, removals: Sequence[tuple[Archive, Archive]]) -> None:
        freed: defaultdict[str, Usage] = defaultdict(Usage)
        for current, _ in removals:
            freed[current.name.family.repository] -= Usage.of(current)

        def fill(items: TransactWrite) -> None:
            for current, updated in removals:
                items.delete(self._entries(**entry_attributes(current.entry)), _holds_for(EntryItem, current.id))
                items.save(self._archive_item(current, updated))
            self._count(items, freed)

        transact(self._connection, fill)

    def drop_reservation(self, reservation: Reservation) -> None:
        holds = _holds_for(ReservationItem, reservation.archive_id)
        try:
            write(lambda: self._reservation_item(reservation).delete(holds))
        except WriteConflict:
            return

    def forget_archive(self, current: Archive) -> None:
        write(lambda: self._archive_item(current, current).delete())

    def _is_outdated(self, item: ArchiveItem) -> bool:
        try:
            archive = item.to_archive()
        except ValueError:
            return True
        return not item.is_written_as(archive, self._due_at(archive))

    def _archive_item(self, current: Archive, updated: Archive) -> ArchiveItem:
        return self._archives(**archive_attributes(replace(updated, revision=current.revision), self._due_at(updated)))

    def _reservation_item(self, reservation: Reservation) -> ReservationItem:
        return self._reservations(**reservation_attributes(reservation))

    def _count(self, items: TransactWrite, changes: Mapping[str, Usage]) -> None:
        """Count in shards that are chosen at random for each attempt, so that concurrent writers seldom meet twice."""
        add_usage(items, self._repositories, changes)


@dataclass(frozen=True)
class _Found:
    """Holds the newest of the entries that a query read and that have the prefix.

    Args:
        newest: None if none has it.
        last_key: where to read on; None if that was all.
    """

    newest: Entry | None
    last_key: dict[str, Any] | None

    @property
    def is_whole(self) -> bool:
        return self.last_key is None

    @classmethod
    def of(cls, items: ResultIterator[EntryItem], prefix: str, before: "_Found | None" = None) -> Self:
        """Read the items, and add them to what was found before."""
        entries = [item.to_entry() for item in items if item.key.startswith(prefix)]
        entries += [before.newest] if before and before.newest else []
        newest = max(entries, key=lambda entry: entry.created_at, default=None)
        return cls(newest, items.last_evaluated_key)


NOTHING_FOUND = _Found(None, None)


def _holds_for(model: type[EntryItem | ReservationItem], archive_id: str) -> Condition:
    return model.archive_id == archive_id


def _as_written(current: Archive, updated: Archive) -> Archive:
    return replace(updated, revision=current.revision + 1)


# ---------------------------------------------------------------- schema version


@dataclass(frozen=True, slots=True)
class DynamoDbSchema:
    """See schema.SchemaVersion. It doesn't use pynamodb's models, of which a table has one: for archives."""

    connection: Connection
    archives_table: str

    def read(self) -> Schema | None:
        with translate_errors():
            item = self._call("GetItem", Key={"archive_id": {"S": SCHEMA_KEY}}, ConsistentRead=True).get("Item")
        if item is None:
            return None
        return _SCHEMA.validate_python({name: _value(item[name]) for name in asdict(Schema(0)) if name in item})

    def write(self, current: Schema | None, updated: Schema) -> None:
        """Write on condition that every field is as it was read."""
        # A missing field was read as its default: a release that knew fewer fields wrote it.
        conditions = (
            ["attribute_not_exists(archive_id)"]
            if current is None
            else [f"(attribute_not_exists(#{name}) OR #{name} = :{name})" for name in asdict(current)]
        )
        names = {} if current is None else {f"#{name}": name for name in asdict(current)}
        values = {} if current is None else {f":{name}": _attribute(value) for name, value in asdict(current).items()}
        put: dict[str, Any] = {
            "Item": {"archive_id": {"S": SCHEMA_KEY}}
            | {name: _attribute(value) for name, value in asdict(updated).items()},
            "ConditionExpression": " AND ".join(conditions),
            **({"ExpressionAttributeNames": names, "ExpressionAttributeValues": values} if current else {}),
        }
        write(lambda: self._call("PutItem", **put))

    def _call(self, operation: str, **arguments: Any) -> Mapping[str, Any]:
        response: Mapping[str, Any] = self.connection.dispatch(
            operation, {"TableName": self.archives_table} | arguments
        )
        return response


def _attribute(value: str | int) -> dict[str, str]:
    return {"S": value} if isinstance(value, str) else {"N": str(value)}


def _value(attribute: Mapping[str, str]) -> str | int:
    return attribute["S"] if "S" in attribute else int(attribute["N"])
