"""Wire what all functions but the rotation share: tables, bucket, queue, and the flows that others are built from."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from actions_cache.archives import AbortLeftUploads, ClaimMerge, Manifests, RemoveBroken, RemoveEntry
from actions_cache.aws.clients import QUICK_CALLS, new_session, s3_client
from actions_cache.aws.dynamodb import DynamoDbSchema, DynamoDbTable
from actions_cache.aws.dynamodb_items import Database
from actions_cache.aws.dynamodb_repositories import DynamoDbRepositories
from actions_cache.aws.s3 import S3Bucket
from actions_cache.aws.secrets import SecretsManagerSecrets
from actions_cache.aws.sqs import SqsMergeQueue
from actions_cache.aws.telemetry import LoggedTelemetry
from actions_cache.domain.archive import Archive
from actions_cache.domain.budgets import Budgets
from actions_cache.domain.cleanup_schedule import next_task
from actions_cache.domain.merge_plan import MergeWorker
from actions_cache.domain.timing import SECOND, Lifetimes, Millis
from actions_cache.evict import Evict
from actions_cache.ports import Clock, Telemetry, TokenSource
from actions_cache.release import Release, stamped
from actions_cache.schema import CheckSchema
from actions_cache.settings import MergeTrigger, Settings
from actions_cache.system import RandomTokens, SystemClock
from actions_cache.urls import SourceUrls, UrlSigner
from actions_cache.usage import wait_for_index

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LOOKUP_THREADS = 20
"""Queries that a lookup sends to the table at once: three scopes by six keys. More costs read units where the first
match comes early; fewer costs another round trip."""


@dataclass
class CoreServices:
    """Holds one instance of each service for a process; what a function doesn't use is never created.

    Args:
        settings: read from the environment.
        clock: replaced by tests that need a time of their own.
        tokens: replaced by tests that need known tokens.
        calls: how long a call to AWS may take (aws/clients.py).
        telemetry: replaced by tests that look at emitted events.
    """

    settings: Settings
    clock: Clock = field(default_factory=SystemClock)
    tokens: TokenSource = field(default_factory=RandomTokens)
    calls: Config = QUICK_CALLS
    telemetry: Telemetry = field(default_factory=LoggedTelemetry)

    @cached_property
    def session(self) -> boto3.Session:
        return new_session()

    @cached_property
    def database(self) -> Database:
        return Database(self.session.region_name)

    @cached_property
    def schema(self) -> DynamoDbSchema:
        return DynamoDbSchema(self.database.connection, self.settings.archives_table)

    @cached_property
    def table(self) -> DynamoDbTable:
        """Return the tables, once their schema is known to be one that this release can read and write.

        Raises:
            NewerSchema: a newer release wrote to the tables; raised at each call.
        """
        self.check_schema()
        return self._unchecked_table

    @cached_property
    def _unchecked_table(self) -> DynamoDbTable:
        return DynamoDbTable(
            self.database,
            entries=self.settings.entries_table,
            reservations=self.settings.reservations_table,
            archives=self.settings.archives_table,
            repositories=self.settings.repositories_table,
            due_at=self._due_at,
        )

    @cached_property
    def repositories(self) -> DynamoDbRepositories:
        return DynamoDbRepositories(self.database, self.settings.repositories_table)

    @cached_property
    def s3(self) -> "S3Client":
        return s3_client(self.session, self.calls)

    @cached_property
    def bucket(self) -> S3Bucket:
        return S3Bucket(self.s3, self.settings.bucket, self.session.get_credentials())

    @cached_property
    def queue(self) -> SqsMergeQueue:
        client = self.session.client("sqs", config=self.calls)
        return SqsMergeQueue(client, self.settings.merge_queue_url, self.settings.merge_dead_letter_queue_url)

    @cached_property
    def executor(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="lookup")

    @cached_property
    def lifetimes(self) -> Lifetimes:
        settings = self.settings
        return Lifetimes(
            upload_url=settings.upload_url_seconds * SECOND,
            download_url=settings.download_url_seconds * SECOND,
            reservation=settings.reservation_seconds * SECOND,
            grace=settings.grace_seconds * SECOND,
            unused={entry_class: seconds * SECOND for entry_class, seconds in settings.unused_seconds.items()},
            merge_lease=settings.merge_lease_seconds * SECOND,
            queue_retention=settings.queue_retention_seconds * SECOND,
        )

    @cached_property
    def release(self) -> Release:
        return Release.parse(self.settings.release) if self.settings.release else stamped()

    @cached_property
    def budgets(self) -> Budgets:
        settings = self.settings
        return Budgets(
            repository=settings.repository_budget_bytes or None,
            repository_entries=settings.repository_budget_entries or None,
            store=settings.store_budget_bytes or None,
            entry=settings.max_entry_bytes or None,
        )

    @property
    def merges_at_finalize(self) -> bool:
        return self.settings.merge_trigger is MergeTrigger.FINALIZE

    def _due_at(self, archive: Archive) -> Millis:
        due_at, _ = next_task(archive, self.lifetimes, merges_at_finalize=self.merges_at_finalize)
        return due_at

    @cached_property
    def manifests(self) -> Manifests:
        worker = MergeWorker(self.settings.merge_memory_mb, self.settings.merge_concurrency)
        return Manifests(self.bucket, self.tokens, worker)

    @cached_property
    def claim_merge(self) -> ClaimMerge:
        attempts = self.settings.merge_attempts
        return ClaimMerge(self.table, self.queue, self.clock, self.tokens, self.lifetimes, attempts, self.telemetry)

    @cached_property
    def remove_entry(self) -> RemoveEntry:
        return RemoveEntry(self.table, self.clock, self.telemetry)

    @cached_property
    def remove_broken(self) -> RemoveBroken:
        return RemoveBroken(self.bucket, self.remove_entry, self.telemetry)

    @cached_property
    def abort_left_uploads(self) -> AbortLeftUploads:
        return AbortLeftUploads(self.table, self.bucket)

    @cached_property
    def evict(self) -> Evict:
        return Evict(
            self.table,
            self.repositories,
            self.remove_entry,
            self.budgets,
            self.lifetimes,
            self.telemetry,
            wait_for_index,
        )

    @cached_property
    def check_schema(self) -> CheckSchema:
        return CheckSchema(self.schema)

    @cached_property
    def urls(self) -> UrlSigner:
        client = self.session.client("secretsmanager", config=self.calls)
        return UrlSigner(SecretsManagerSecrets(client, self.settings.url_signing_secret_arn), self.clock)

    @cached_property
    def sources(self) -> SourceUrls:
        return SourceUrls(self.bucket, self.urls, self.clock, self.lifetimes)
