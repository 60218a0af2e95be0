"""The way of an entry through the use cases, without HTTP: what a test does before its own point."""

import base64
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NoReturn

from actions_cache.aws.sqs import decode_message
from actions_cache.domain.archive import Archive
from actions_cache.domain.entry import Entry, EntryFamily, EntryName
from actions_cache.domain.object_keys import ArchiveKeys
from actions_cache.domain.ranges import full_range
from actions_cache.domain.timing import SECOND, Millis
from actions_cache.events import RunEnd
from actions_cache.lookup import Hit, Query
from actions_cache.ports import MergeMessage
from dev.services import AllServices

REPOSITORY, SCOPE, VERSION = "42", "refs/heads/main", "v1"
PLENTY: Millis = 600 * SECOND


@dataclass
class SetClock:
    """Time moves only when a test moves it."""

    at: Millis = 1_800_000_000 * SECOND

    def now(self) -> Millis:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += int(seconds * SECOND)


def name(key: str, scope: str = SCOPE, version: str = VERSION, repository: str = REPOSITORY) -> EntryName:
    return EntryName(EntryFamily(repository, scope, version), key)


def block_ids(number: int) -> list[str]:
    return [base64.b64encode(f"block {i:04d}".encode()).decode() for i in range(number)]


def plenty() -> Millis:
    return PLENTY


def fail(fault: BaseException) -> NoReturn:
    """For a lambda."""
    raise fault


@dataclass
class CacheDriver:
    services: AllServices
    clock: SetClock
    s3: Any
    sqs: Any
    _arrivals: Any = field(default_factory=count)

    def reserve(self, entry_name: EntryName) -> str:
        """Returns the archive's id."""
        return self.services.reserve(entry_name).partition("?")[0].rpartition("/")[2]

    def put_block(self, archive_id: str, block_id: str, body: bytes) -> str:
        """As the edge does: one object, no function of ours. Returns its key."""
        key = ArchiveKeys(archive_id).block(block_id, self.clock.now(), f"{next(self._arrivals):08d}")
        return self.services.bucket.write_once(key, body).key

    def put_blob(self, archive_id: str, body: bytes) -> str:
        key = ArchiveKeys(archive_id).blob(self.clock.now(), f"{next(self._arrivals):08d}")
        return self.services.bucket.write_once(key, body).key

    def append(self, archive_id: str, body: bytes) -> str:
        key = ArchiveKeys(archive_id).appended(None, self.clock.now(), f"{next(self._arrivals):08d}")
        return self.services.bucket.write_once(key, body).key

    def upload(self, entry_name: EntryName, *parts: bytes) -> str:
        """Up to the block list. Returns the archive's id."""
        archive_id = self.reserve(entry_name)
        ids = block_ids(len(parts))
        for block_id, body in zip(ids, parts, strict=True):
            self.put_block(archive_id, block_id, body)
        self.services.commit_blocks(archive_id, ids)
        return archive_id

    def save(self, entry_name: EntryName, *parts: bytes) -> Entry:
        self.upload(entry_name, *parts)
        return self.services.finalize(entry_name, sum(map(len, parts)))

    def look_up(self, key: str, *restore_keys: str, **changes: Any) -> Hit | None:
        query: dict[str, Any] = {
            "repository": REPOSITORY,
            "scopes": (SCOPE,),
            "version": VERSION,
            "user_agent": "@actions/cache-6.3.0",
            "through_edge": False,
        }
        return self.services.look_up(Query(key=key, restore_keys=restore_keys, **(query | changes)))

    def archive(self, archive_id: str) -> Archive:
        archive = self.services.table.archive(archive_id)
        assert archive is not None
        return archive

    def messages(self) -> list[MergeMessage]:
        """Takes what stands in the merge queue."""
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
        """What stands in the bucket for an archive, below its prefix."""
        prefix = ArchiveKeys(archive_id).prefix
        return [part.key.removeprefix(prefix) for part in self.services.bucket.list(prefix)]

    def content(self, archive_id: str) -> bytes:
        archive = self.archive(archive_id)
        parts = (archive.object,) if archive.object else self.services.manifests.of(archive).parts
        return b"".join(self.services.bucket.read(full_range(part)) for part in parts)

    def forget_everything(self) -> None:
        """As if tables and queues were new. Objects stay: their archives' ids never come again."""
        table, repositories = self.services.table, self.services.repositories
        for items in (table._archives, table._entries, table._reservations, repositories._items):
            for item in items.scan():
                item.delete()
        settings = self.services.settings
        for queue in filter(None, (settings.merge_queue_url, settings.merge_dead_letter_queue_url)):
            # Not purged: SQS does that once a minute.
            while batch := self.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
                for message in batch:
                    self.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        self.services.admit._noted.clear()
        self.clock.at = SetClock().at

    def overwrite(self, key: str, body: bytes) -> None:
        """What nothing of ours ever does."""
        self.s3.put_object(Bucket=self.services.settings.bucket, Key=key, Body=body)
