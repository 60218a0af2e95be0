"""Drives saves, restores, merges and cleanup through the use cases, in process and without HTTP."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NoReturn

import boto3

from actions_cache.aws.sqs import decode_message
from actions_cache.domain.archive import Archive
from actions_cache.domain.entry import Entry, EntryFamily, EntryName
from actions_cache.domain.entry_class import EntryClass
from actions_cache.domain.object_keys import ArchiveKeys
from actions_cache.domain.ranges import full_range
from actions_cache.domain.timing import SECOND, Millis
from actions_cache.events import RunEnd
from actions_cache.lookup import Hit, Query
from actions_cache.ports import MergeMessage, MultipartUpload
from actions_cache.settings import Settings
from dev.local.resources import Clients, create
from dev.local.template import Template
from dev.services import AllServices

REPOSITORY, SCOPE, VERSION = "42", "refs/heads/main", "v1"

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "localsecret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
}
"""Environment in which clients on moto are made."""

FUNCTIONS = ("ApiFunction", "ManageFunction")
"""Functions whose environments together have all settings of a driver."""


@dataclass
class SetClock:
    """A clock that only its user moves."""

    at: Millis = 1_800_000_000 * SECOND

    def now(self) -> Millis:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += int(seconds * SECOND)


def name(key: str, scope: str = SCOPE, version: str = VERSION, repository: str = REPOSITORY) -> EntryName:
    return EntryName(EntryFamily(repository, scope, version), key)


def block_ids(number: int) -> list[str]:
    return [base64.b64encode(f"block {i:04d}".encode()).decode() for i in range(number)]


def counted_ids(number: int, prefix: str = "0b5e5d0c-7d3c-4d6f-9a53-3c7f6f0d3a11") -> list[str]:
    """Return block ids as Azure's SDK for JavaScript makes them, by which blocks can go straight into the bucket."""
    return [base64.b64encode(f"{prefix}{index:012d}".encode()).decode() for index in range(number)]


def plenty() -> Millis:
    """Return ten minutes: the time that is left of a Lambda invocation."""
    return 600 * SECOND


def fail(error: BaseException) -> NoReturn:
    """Raise the error, where only an expression can stand."""
    raise error


def settings_for(environment: Mapping[str, str], **changes: str) -> Settings:
    """Return the settings that a function reads from its environment, with changes; an empty value unsets one."""
    values = {name.lower(): value for name, value in environment.items()}
    return Settings.model_validate({name: value for name, value in (values | changes).items() if value})


@dataclass
class CacheDriver:
    services: AllServices
    clock: SetClock
    s3: Any
    sqs: Any
    variables: Mapping[str, str] = field(default_factory=dict)
    """Environment of the functions that use the same resources."""
    _arrivals: Any = field(default_factory=count)

    @classmethod
    def create(cls, template: Template, session: boto3.Session, prefix: str = "cache", **changes: str) -> "CacheDriver":
        """Create the template's resources, and a driver that uses them.

        Args:
            template: declares the resources.
            session: makes the clients; AWS_ENDPOINT_URL_... variables lead them to an emulator.
            prefix: begins the resources' names, which keeps several sets apart.
            changes: settings that differ from the template's.
        """
        clients = Clients.of(session)
        resources = create(template, clients, prefix=prefix)
        variables = {key: value for name in FUNCTIONS for key, value in resources.environment(name).items()}
        clock = SetClock()
        services = AllServices(settings_for(variables, **changes), clock)
        services.session = session
        return cls(services, clock, clients.s3, clients.sqs, variables)

    def reserve(self, entry_name: EntryName, entry_class: EntryClass | None = None) -> str:
        """Reserve an entry, and return the archive's id."""
        return self.services.reserve(entry_name, entry_class).partition("?")[0].rpartition("/")[2]

    def reserve_direct(self, entry_name: EntryName, server_url: str = "https://cache.example.com") -> str:
        """Reserve an entry with a direct upload, and return the archive's id."""
        path, urls = self.services.reserve.with_direct(entry_name, None, server_url)
        assert urls is not None
        return path.partition("?")[0].rpartition("/")[2]

    def put_part(self, archive_id: str, number: int, body: bytes) -> str:
        """Upload a block as the hook does, straight into the archive's multipart upload, and return its ETag."""
        direct = self.archive(archive_id).direct
        assert direct is not None
        return self.services.bucket.upload_part(MultipartUpload.of(direct), number, body).etag

    def put_block(self, archive_id: str, block_id: str, body: bytes) -> str:
        """Upload a block as the edge does, past all functions, and return the object's key."""
        key = ArchiveKeys(archive_id).block(block_id, self.clock.now(), f"{next(self._arrivals):08d}")
        return self.services.bucket.write_once(key, body).key

    def put_blob(self, archive_id: str, body: bytes) -> str:
        key = ArchiveKeys(archive_id).blob(self.clock.now(), f"{next(self._arrivals):08d}")
        return self.services.bucket.write_once(key, body).key

    def append(self, archive_id: str, body: bytes) -> str:
        key = ArchiveKeys(archive_id).appended(None, self.clock.now(), f"{next(self._arrivals):08d}")
        return self.services.bucket.write_once(key, body).key

    def upload(self, entry_name: EntryName, *parts: bytes, entry_class: EntryClass | None = None) -> str:
        """Upload an entry up to its block list, and return the archive's id."""
        archive_id = self.reserve(entry_name, entry_class)
        ids = block_ids(len(parts))
        for block_id, body in zip(ids, parts, strict=True):
            self.put_block(archive_id, block_id, body)
        self.services.commit.block_list(archive_id, ids)
        return archive_id

    def save(self, entry_name: EntryName, *parts: bytes, entry_class: EntryClass | None = None) -> Entry:
        self.upload(entry_name, *parts, entry_class=entry_class)
        return self.services.finalize(entry_name, sum(map(len, parts)))

    def look_up(self, key: str, *restore_keys: str, **changes: Any) -> Hit | None:
        query: dict[str, Any] = {
            "repository": REPOSITORY,
            "scopes": (SCOPE,),
            "version": VERSION,
            "can_read_from_s3": True,
            "through_edge": False,
        }
        return self.services.look_up(Query(key=key, restore_keys=restore_keys, **(query | changes)))

    def archive(self, archive_id: str) -> Archive:
        archive = self.services.table.archive(archive_id)
        assert archive is not None
        return archive

    def messages(self) -> list[MergeMessage]:
        """Receive and delete all messages of the merge queue."""
        url = self.services.settings.merge_queue_url
        taken = []
        while batch := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in batch:
                taken.append(decode_message(message["Body"]))
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return taken

    def merge_all(self) -> list[RunEnd]:
        return [self.services.merge(message, plenty) for message in self.messages()]

    def clean_up(self) -> dict[str, int]:
        return dict(self.services.clean_up(plenty))

    def keys(self, archive_id: str) -> list[str]:
        """Return the keys of an archive's objects, without their prefix."""
        prefix = ArchiveKeys(archive_id).prefix
        return [part.key.removeprefix(prefix) for part in self.services.bucket.list(prefix)]

    def content(self, archive_id: str) -> bytes:
        archive = self.archive(archive_id)
        parts = (archive.object,) if archive.object else self.services.manifests.of(archive).parts
        return b"".join(self.services.bucket.read(full_range(part)) for part in parts)

    def forget_everything(self) -> None:
        """Empty tables, queues and bucket, and set the clock back."""
        table, repositories = self.services.table, self.services.repositories
        for items in (table._archives, table._entries, table._reservations, repositories._items):
            with items.batch_write() as batch:
                for item in items.scan():
                    batch.delete(item)
        self.services.bucket.delete([part.key for part in self.services.bucket.list("")])
        for upload, _ in self.services.bucket.uploads(""):
            self.services.bucket.abort_upload(upload)
        settings = self.services.settings
        for queue in filter(None, (settings.merge_queue_url, settings.merge_dead_letter_queue_url)):
            # Not purged: SQS does that once a minute.
            while batch := self.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
                for message in batch:
                    self.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        self.services.note_repository._names.clear()
        self.clock.at = SetClock().at

    def overwrite(self, key: str, body: bytes) -> None:
        """Replace an object, which the cache itself never does."""
        self.s3.put_object(Bucket=self.services.settings.bucket, Key=key, Body=body)
