"""The items of the tables. `template.yaml` declares the tables; here is what stands in them."""

from typing import Any, TypeVar, cast

import botocore.session
from pydantic import TypeAdapter
from pynamodb.attributes import DynamicMapAttribute, JSONAttribute, NumberAttribute, UnicodeAttribute, VersionAttribute
from pynamodb.connection import Connection
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex, KeysOnlyProjection, LocalSecondaryIndex
from pynamodb.models import Model

from actions_cache.adapters.aws import mistrust_strangers
from actions_cache.domain.archive import Archive, MergeState
from actions_cache.domain.entry import Entry, EntryFamily, EntryName, Reservation
from actions_cache.domain.migrations import upgraded
from actions_cache.domain.migrations.migration import Document
from actions_cache.domain.timing import Millis

_ARCHIVE: TypeAdapter[Archive] = TypeAdapter(Archive)


class NewestIndex(LocalSecondaryIndex["EntryItem"]):  # type: ignore[no-untyped-call]
    class Meta:
        index_name = "newest"
        projection = AllProjection()

    partition = UnicodeAttribute(hash_key=True)
    created_at = NumberAttribute(range_key=True)


class EntryItem(Model):
    """A visible entry. Its scope, version and key stand in it whole: the keys may hold digests of them."""

    class Meta:
        table_name = "entries"

    partition = UnicodeAttribute(hash_key=True)
    sort_key = UnicodeAttribute(range_key=True)
    newest = NewestIndex()
    created_at: NumberAttribute = NumberAttribute()
    repository = UnicodeAttribute()
    scope = UnicodeAttribute()
    version = UnicodeAttribute()
    key = UnicodeAttribute()
    archive_id = UnicodeAttribute()
    size: NumberAttribute = NumberAttribute()

    def to_entry(self) -> Entry:
        family = EntryFamily(self.repository, self.scope, self.version)
        return Entry(EntryName(family, self.key), self.archive_id, int(self.size), int(self.created_at))


def entry_attributes(entry: Entry) -> dict[str, Any]:
    family = entry.name.family
    return {
        "partition": family.partition,
        "sort_key": entry.name.sort_key,
        "created_at": entry.created_at,
        "repository": family.repository,
        "scope": family.scope,
        "version": family.version,
        "key": entry.name.key,
        "archive_id": entry.archive_id,
        "size": entry.size,
    }


class ReservationItem(Model):
    class Meta:
        table_name = "reservations"

    partition = UnicodeAttribute(hash_key=True)
    sort_key = UnicodeAttribute(range_key=True)
    archive_id = UnicodeAttribute()
    expires_at: NumberAttribute = NumberAttribute()

    def to_reservation(self, name: EntryName) -> Reservation:
        return Reservation(name, self.archive_id, int(self.expires_at))


def reservation_attributes(reservation: Reservation) -> dict[str, Any]:
    return {
        "partition": reservation.name.family.partition,
        "sort_key": reservation.name.sort_key,
        "archive_id": reservation.archive_id,
        "expires_at": reservation.expires_at,
    }


class AgendaIndex(GlobalSecondaryIndex["ArchiveItem"]):  # type: ignore[no-untyped-call]
    class Meta:
        index_name = "agenda"
        projection = KeysOnlyProjection()

    agenda_shard = UnicodeAttribute(hash_key=True)
    due_at = NumberAttribute(range_key=True)
    archive_id = UnicodeAttribute()


class UseIndex(GlobalSecondaryIndex["ArchiveItem"]):  # type: ignore[no-untyped-call]
    class Meta:
        index_name = "use"
        projection = AllProjection()

    repository = UnicodeAttribute(hash_key=True)
    last_used_at = NumberAttribute(range_key=True)


FAILED_SHARD = "failed"
"""Of the agenda: archives whose merge failed for good stand apart, found without reading all others."""

AGENDA_SHARDS = (*"0123456789abcdef", FAILED_SHARD)
"""One per first digit of an archive's id: an index partition takes 1,000 writes a second."""


class ArchiveItem(Model):
    """An archive as a map, beside what the table itself needs to know of it.

    `revision` is pynamodb's optimistic lock: each write is conditional on the revision that was read.
    """

    class Meta:
        table_name = "archives"

    archive_id = UnicodeAttribute(hash_key=True)
    agenda = AgendaIndex()
    agenda_shard = UnicodeAttribute()
    due_at: NumberAttribute = NumberAttribute()
    use = UseIndex()
    repository = UnicodeAttribute(null=True)
    """Only while jobs can find the entry: what doesn't have it isn't in the index."""
    last_used_at: NumberAttribute = NumberAttribute(null=True)
    revision = VersionAttribute()
    archive: DynamicMapAttribute = DynamicMapAttribute()  # type: ignore[no-untyped-call]

    def to_archive(self) -> Archive:
        return _ARCHIVE.validate_python({**upgraded(self._document), "revision": self.revision})

    def is_written_as(self, archive: Archive, due_at: Millis) -> bool:
        written = archive_attributes(archive, due_at)
        keys = {name: getattr(self, name) for name in ("due_at", "repository", "last_used_at")}
        return self._document == written["archive"] and keys == {name: written.get(name) for name in keys}

    @property
    def _document(self) -> Document:
        document: dict[str, Any] = self.archive.as_dict()  # type: ignore[no-untyped-call]
        # pynamodb's own: it takes the dictionary that holds a map's attributes for one of them.
        document.pop("attribute_values", None)
        return document


def archive_attributes(archive: Archive, due_at: Millis) -> dict[str, Any]:
    """Without a revision for an archive that isn't in the table yet: pynamodb then asks that none be there."""
    document = _ARCHIVE.dump_python(archive, mode="json", exclude={"revision"})
    attributes = {
        "archive_id": archive.id,
        "agenda_shard": FAILED_SHARD if _has_failed(archive) else archive.id[0],
        "due_at": due_at,
        "archive": document,
    }
    if archive.is_stored:
        attributes |= {"repository": archive.name.family.repository, "last_used_at": archive.last_used_at}
    return attributes | ({"revision": archive.revision} if archive.revision else {})


def _has_failed(archive: Archive) -> bool:
    return archive.is_stored and archive.merge.state is MergeState.FAILED


class RepositoryItem(Model):
    """One of the kinds of items that adapters/dynamodb_repositories.py tells apart by the beginning of `item`."""

    class Meta:
        table_name = "repositories"

    repository = UnicodeAttribute(hash_key=True)
    item = UnicodeAttribute(range_key=True)
    name = UnicodeAttribute(null=True)
    noted_at: NumberAttribute = NumberAttribute(null=True)
    bytes: NumberAttribute = NumberAttribute(null=True)
    entries: NumberAttribute = NumberAttribute(null=True)
    creates: NumberAttribute = NumberAttribute(null=True)
    hits: NumberAttribute = NumberAttribute(null=True)
    last_hit_at: NumberAttribute = NumberAttribute(null=True)
    misses: NumberAttribute = NumberAttribute(null=True)
    saves: NumberAttribute = NumberAttribute(null=True)
    bytes_restored: NumberAttribute = NumberAttribute(null=True)
    bytes_saved: NumberAttribute = NumberAttribute(null=True)
    job: JSONAttribute = JSONAttribute(null=True)
    refused_repository = UnicodeAttribute(null=True)
    times: NumberAttribute = NumberAttribute(null=True)
    expires_at: NumberAttribute = NumberAttribute(null=True)
    """In seconds: DynamoDB deletes the item after it. Only on counts; none of these items points to an object."""


MAX_CONNECTIONS = 64
"""The web framework's 40 threads may each hold one, and those that lookups share (wiring/control.py) 20."""

ModelT = TypeVar("ModelT", bound=Model)


class _Connection(Connection):
    """Uses pynamodb's connection with sessions of the threads that create its client."""

    @property
    def session(self) -> botocore.session.Session:
        session = super().session
        mistrust_strangers(session.get_component("event_emitter"))
        return session


class Database:
    """One connection for all models and for transactions; the endpoint is AWS's, or AWS_ENDPOINT_URL_DYNAMODB.

    By itself pynamodb opens a client for each model, and each costs a cold start some 100 ms.
    """

    def __init__(self, region: str) -> None:
        self._region = region
        self._bound: dict[str, type[Model]] = {}
        self.connection = _Connection(
            region,
            connect_timeout_seconds=3,
            read_timeout_seconds=5,
            max_retry_attempts=2,
            max_pool_connections=MAX_CONNECTIONS,
        )

    def bind(self, model: type[ModelT], table_name: str) -> type[ModelT]:
        """The model on a table whose name is known only now, not at import."""
        bound = self._bound.get(table_name) or self._bind(model, table_name)
        self._bound[table_name] = bound
        return cast("type[ModelT]", bound)

    def _bind(self, model: type[ModelT], table_name: str) -> type[ModelT]:
        meta = type("Meta", (), {"table_name": table_name, "region": self._region})
        bound: type[ModelT] = type(model.__name__, (model,), {"Meta": meta})
        table = bound._get_connection()  # noqa: SLF001 - the only way to a model's connection
        self.connection.add_meta_table(table.get_meta_table())
        table.connection = self.connection
        return bound
