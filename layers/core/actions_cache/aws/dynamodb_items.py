"""The items of DynamoDB's tables, which `template.yaml` declares, and how to read and write them."""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, TypeVar, cast

import botocore.session
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from pydantic import TypeAdapter
from pynamodb.attributes import Attribute, JSONAttribute, NumberAttribute, UnicodeAttribute, VersionAttribute
from pynamodb.connection import Connection
from pynamodb.constants import BOOLEAN, LIST, MAP, NULL, NUMBER, STRING
from pynamodb.exceptions import DoesNotExist, PynamoDBException
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex, KeysOnlyProjection, LocalSecondaryIndex
from pynamodb.models import Model
from pynamodb.transactions import TransactWrite
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from actions_cache.aws.clients import error_code, log_denied_permission, retry_implausible_responses
from actions_cache.domain.archive import Archive, MergeState
from actions_cache.domain.entry import Entry, EntryFamily, EntryName, Reservation
from actions_cache.domain.entry_class import EntryClass
from actions_cache.domain.schema import Document, upgraded
from actions_cache.domain.timing import Millis
from actions_cache.ports import Unavailable, WriteConflict

_ARCHIVE: TypeAdapter[Archive] = TypeAdapter(Archive)


class NewestIndex(LocalSecondaryIndex["EntryItem"]):  # type: ignore[no-untyped-call]
    """The entries of a family by their creation."""

    class Meta:
        index_name = "newest"
        projection = AllProjection()

    partition = UnicodeAttribute(hash_key=True)
    created_at = NumberAttribute(range_key=True)


class EntryItem(Model):
    """A visible entry. It contains its scope, version and key as they are, of which its keys may have digests."""

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
    """A reservation of a name."""

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


class DocumentAttribute(Attribute[Document]):
    """A JSON document, stored as a map. pynamodb's own attribute for maps takes ten times as long to read one."""

    attr_type = MAP

    def serialize(self, value: Document) -> dict[str, Any]:
        return {name: _typed(each) for name, each in value.items()}

    def deserialize(self, value: Mapping[str, Any]) -> Document:
        return {name: _plain(each) for name, each in value.items()}


def _typed(value: Any) -> dict[str, Any]:
    match value:
        case None:
            return {NULL: True}
        case bool():
            return {BOOLEAN: value}
        case int():
            return {NUMBER: str(value)}
        case str():
            return {STRING: value}
        case dict():
            return {MAP: {name: _typed(each) for name, each in value.items()}}
        case _:
            return {LIST: [_typed(each) for each in value]}


def _plain(value: Mapping[str, Any]) -> Any:
    for kind, content in value.items():
        if kind == NUMBER:
            return int(content)
        if kind == MAP:
            return {name: _plain(each) for name, each in content.items()}
        if kind == LIST:
            return [_plain(each) for each in content]
        if kind != NULL:
            return content
    return None


class DueIndex(GlobalSecondaryIndex["ArchiveItem"]):  # type: ignore[no-untyped-call]
    """The archives by the due time of their next cleanup task."""

    class Meta:
        index_name = "agenda"
        projection = KeysOnlyProjection()

    agenda_shard = UnicodeAttribute(hash_key=True)
    due_at = NumberAttribute(range_key=True)
    archive_id = UnicodeAttribute()


class UseIndex(GlobalSecondaryIndex["ArchiveItem"]):  # type: ignore[no-untyped-call]
    """The stored archives of a repository by their class, and in each class by their last use."""

    class Meta:
        index_name = "use"
        projection = AllProjection()

    repository = UnicodeAttribute(hash_key=True)
    use_key = NumberAttribute(range_key=True, attr_name="last_used_at")


CLASS_SPAN: Millis = 10**14
"""Distance between the classes in UseIndex: more than any time, since this one is in the year 5138."""

_CLASS_RANKS = {EntryClass.DEFAULT_BRANCH: 0, EntryClass.BRANCH: -1, EntryClass.TRANSIENT: -2}
"""The classes' order in UseIndex. The default branch's archives have the same keys as all have that older releases
wrote, and an older release, which takes the keys for times, evicts the others first."""


def use_keys(entry_class: EntryClass) -> tuple[int, int]:
    """Return the first and the last key that archives of this class may have in UseIndex."""
    first = _CLASS_RANKS[entry_class] * CLASS_SPAN
    return first, first + CLASS_SPAN - 1


FAILED_SHARD = "failed"
"""Shard of DueIndex for archives whose merge has failed, so that they are found without reading the others."""

DUE_SHARDS = (*"0123456789abcdef", FAILED_SHARD)
"""Shards of DueIndex, one for each first digit of an archive's id. Fewer: fewer writes a second, since an index's
partition takes 1,000. More: cleanup makes more queries."""


class ArchiveItem(Model):
    """An archive as a map, with the attributes by which the table's indexes find it.

    `revision` is pynamodb's optimistic lock: each write is conditional on the revision that was read.
    """

    class Meta:
        table_name = "archives"

    archive_id = UnicodeAttribute(hash_key=True)
    agenda = DueIndex()
    agenda_shard = UnicodeAttribute()
    due_at: NumberAttribute = NumberAttribute()
    use = UseIndex()
    repository = UnicodeAttribute(null=True)
    """The repository while jobs can find the entry; without it, the archive isn't in UseIndex."""
    use_key: NumberAttribute = NumberAttribute(null=True, attr_name="last_used_at")
    revision = VersionAttribute()
    archive: DocumentAttribute = DocumentAttribute()

    def to_archive(self) -> Archive:
        return _archive(self.archive, self.revision)

    def is_written_as(self, archive: Archive, due_at: Millis) -> bool:
        """Return whether this release would write the archive as the same item."""
        written = archive_attributes(archive, due_at)
        keys = {name: getattr(self, name) for name in ("due_at", "repository", "use_key")}
        return self.archive == written["archive"] and keys == {name: written.get(name) for name in keys}


def _archive(document: Document, revision: int) -> Archive:
    return _ARCHIVE.validate_python({**upgraded(document), "revision": revision})


def to_archive(item: Mapping[str, Any]) -> Archive:
    """Return the archive of an item as DynamoDB sends it; of very many, in less time than by way of the model."""
    return _archive(_plain(item["archive"]), _plain(item["revision"]))


def archive_attributes(archive: Archive, due_at: Millis) -> dict[str, Any]:
    """Return the attributes of an archive's item.

    An archive that isn't in the table yet has no revision, which makes pynamodb write on condition that there is no
    item.
    """
    document = _ARCHIVE.dump_python(archive, mode="json", exclude={"revision"})
    attributes = {
        "archive_id": archive.id,
        "agenda_shard": FAILED_SHARD if _has_failed(archive) else archive.id[0],
        "due_at": due_at,
        "archive": document,
    }
    if archive.is_stored:
        first, _ = use_keys(archive.entry_class)
        attributes |= {"repository": archive.name.family.repository, "use_key": first + archive.last_used_at}
    return attributes | ({"revision": archive.revision} if archive.revision else {})


def _has_failed(archive: Archive) -> bool:
    return archive.is_stored and archive.merge.state is MergeState.FAILED


class RepositoryItem(Model):
    """An item about a repository, of one of the kinds that aws/dynamodb_repositories.py lists."""

    class Meta:
        table_name = "repositories"

    repository = UnicodeAttribute(hash_key=True)
    item = UnicodeAttribute(range_key=True)
    name = UnicodeAttribute(null=True)
    noted_at: NumberAttribute = NumberAttribute(null=True)
    bytes: NumberAttribute = NumberAttribute(null=True)
    entries: NumberAttribute = NumberAttribute(null=True)
    branch_bytes: NumberAttribute = NumberAttribute(null=True)
    branch_entries: NumberAttribute = NumberAttribute(null=True)
    transient_bytes: NumberAttribute = NumberAttribute(null=True)
    transient_entries: NumberAttribute = NumberAttribute(null=True)
    last_used_at: NumberAttribute = NumberAttribute(null=True)
    creates: NumberAttribute = NumberAttribute(null=True)
    hits: NumberAttribute = NumberAttribute(null=True)
    last_hit_at: NumberAttribute = NumberAttribute(null=True)
    partial_hits: NumberAttribute = NumberAttribute(null=True)
    misses: NumberAttribute = NumberAttribute(null=True)
    saves: NumberAttribute = NumberAttribute(null=True)
    bytes_restored: NumberAttribute = NumberAttribute(null=True)
    bytes_saved: NumberAttribute = NumberAttribute(null=True)
    bytes_direct: NumberAttribute = NumberAttribute(null=True)
    family = UnicodeAttribute(null=True)
    matched_family = UnicodeAttribute(null=True)
    job: JSONAttribute = JSONAttribute(null=True)
    refused_repository = UnicodeAttribute(null=True)
    times: NumberAttribute = NumberAttribute(null=True)
    expires_at: NumberAttribute = NumberAttribute(null=True)
    """Time in seconds after which DynamoDB deletes the item. Only counts have it, since they don't lead to objects."""


MAX_CONNECTIONS = 64
"""Most connections to DynamoDB: one for each of the web framework's 40 threads and of the 20 that lookups share
(services.py). More: unused. Fewer: threads wait for a connection."""

ModelT = TypeVar("ModelT", bound=Model)


READS = ("BatchGetItem", "GetItem", "Query", "Scan")


def _parse_quickly(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    """Take a read's answer as the JSON that it is, for botocore to add to what it parses.

    botocore compares each value of each item with its model of the service, which takes ten times as long, and makes of
    it the same, but for binary values, which no table has. What isn't JSON is left to it.
    """
    if response_dict["status_code"] >= HTTPStatus.MULTIPLE_CHOICES:
        return
    try:
        body = json.loads(response_dict["body"])
    except ValueError:
        return
    customized_response_dict |= body
    response_dict["body"] = b"{}"


class _Connection(Connection):
    """A connection of pynamodb whose client retries implausible responses, and parses reads quickly.

    pynamodb creates a session for each thread, which isn't the client's.
    """

    @property
    def session(self) -> botocore.session.Session:
        session = super().session
        events = session.get_component("event_emitter")
        retry_implausible_responses(events)
        for operation in READS:
            event = f"before-parse.dynamodb.{operation}"
            events.register(event, _parse_quickly, unique_id=event)
        return session


class Database:
    """The connection to DynamoDB, or to AWS_ENDPOINT_URL_DYNAMODB, for all models and for transactions.

    By default, pynamodb creates a client for each model, which delays a cold start by some 100 ms each.
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
        """Return the model with the name of its table, which isn't known at import."""
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


ResultT = TypeVar("ResultT")

CONDITION_FAILED = "ConditionalCheckFailed"
"""Reason of a canceled transaction, and beginning of the code of a refused write."""

TEMPORARY = frozenset(
    {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded"}
)
"""Reasons for a canceled transaction that don't affect the decision behind it. botocore doesn't retry these:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html#transaction-conflict-handling."""

ROUNDS = 10
"""Attempts at a write or a batch read that conflicts with others: 1.3 s in all on average, 2.6 s at most. More: a
client waits longer for its response. Fewer: more writes to a busy item are refused."""


class Busy(Unavailable):
    """Raised when concurrent calls prevented a write or a part of a read; a retry may succeed."""


again_while_busy = retry(
    retry=retry_if_exception_type(Busy),
    stop=stop_after_attempt(ROUNDS),
    wait=wait_random_exponential(multiplier=0.02, max=0.5),
    reraise=True,
)
"""Decorator that retries with jitter: otherwise, writers that met once would meet again."""


@contextmanager
def translate_errors() -> Iterator[None]:
    """Translate DynamoDB's errors into the port's.

    Raises:
        WriteConflict: a condition doesn't hold.
        Busy: others use the same items.
        Unavailable: DynamoDB didn't respond as it should.
    """
    try:
        yield
    except PynamoDBException as error:
        raise _translated(error, error.cause) from error
    except (ClientError, BotoCoreError, ResponseParserError) as error:
        raise _translated(error, error) from error


def _translated(error: Exception, cause: Exception | None) -> Exception:
    if not isinstance(cause, ClientError):
        return Unavailable(str(error))
    log_denied_permission(cause)
    code = error_code(cause)
    reasons = {reason.code for reason in getattr(cause, "cancellation_reasons", ()) if reason}
    # A retry would fail too, since the decision behind the write no longer holds.
    if code == f"{CONDITION_FAILED}Exception" or CONDITION_FAILED in reasons:
        return WriteConflict()
    if code == "TransactionConflictException" or (reasons and reasons <= TEMPORARY):
        return Busy(str(error))
    return Unavailable(str(error))


@again_while_busy
def write(call: Callable[[], object]) -> None:
    """Write an item, and retry while a transaction uses it.

    Args:
        call: Does the write; called for each attempt.

    Raises:
        WriteConflict: the write's condition doesn't hold.
    """
    with translate_errors():
        call()


@again_while_busy
def transact(connection: Connection, fill: Callable[[TransactWrite], None]) -> None:
    """Write all or nothing, and retry while others use the same items.

    Each attempt has its own token, since a canceled one wrote nothing. The token lets botocore's own retry succeed if
    only the response was lost.

    Args:
        connection: The connection to DynamoDB.
        fill: Adds the writes; called for each attempt.

    Raises:
        WriteConflict: a condition doesn't hold.
    """
    with translate_errors(), TransactWrite(connection=connection, client_request_token=uuid.uuid4().hex) as items:
        fill(items)


def get(model: type[ModelT], hash_key: str, range_key: str | None = None) -> ModelT | None:
    """Return the item with this key, read consistently."""
    with translate_errors():
        try:
            return model.get(hash_key, range_key, consistent_read=True)
        except DoesNotExist:
            return None


def batch_get(
    model: type[ModelT], keys: Sequence[Mapping[str, str]], attributes: Sequence[str] | None = None
) -> list[ModelT]:
    """Return the existing items among at most 100 keys.

    Keys that DynamoDB leaves unprocessed are read again after a while; pynamodb would retry at once and forever:
    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
    """
    connection = model._get_connection()  # noqa: SLF001 - the only way to a model's connection
    found: list[ModelT] = []
    left: list[Any] = [{name: {"S": value} for name, value in key.items()} for key in keys]

    @again_while_busy
    def read_left() -> None:
        nonlocal left
        with translate_errors():
            response = connection.batch_get_item(left, consistent_read=True, attributes_to_get=attributes)
        found.extend(map(model.from_raw_data, response["Responses"].get(connection.table_name, ())))
        left = response.get("UnprocessedKeys", {}).get(connection.table_name, {}).get("Keys", [])
        if left:
            raise Busy(f"{len(left)} of {len(keys)} items were left unread")

    if left:
        read_left()
    return found
