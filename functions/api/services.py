"""What runners ask, but for the bytes: what the API function loads."""

from functools import cached_property

from actions_cache.activity import NoteActivity, NoteRefused, NoteRepository
from actions_cache.download_services import DownloadServices
from actions_cache.lookup import ListSimilar, LookUp
from actions_cache.save import (
    CommitUpload,
    CreateRateLimit,
    Finalize,
    ListBlocks,
    ReceivePart,
    Reserve,
)
from actions_cache.services import CoreServices
from functions.api.health import CheckHealth


class ApiServices(CoreServices):
    @cached_property
    def downloads(self) -> DownloadServices:
        return DownloadServices(self)

    @cached_property
    def receive_part(self) -> ReceivePart:
        return ReceivePart(self.downloads.stream, self.clock, self.tokens)

    @cached_property
    def note_repository(self) -> NoteRepository:
        return NoteRepository(self.repositories, self.clock)

    @cached_property
    def create_rate_limit(self) -> CreateRateLimit:
        return CreateRateLimit(self.repositories, self.clock, self.settings.creates_per_minute or None)

    @cached_property
    def note_activity(self) -> NoteActivity:
        return NoteActivity(self.repositories, self.clock, self.lifetimes, self.executor)

    @cached_property
    def note_refused(self) -> NoteRefused:
        return NoteRefused(self.repositories, self.clock, self.executor)

    @cached_property
    def reserve(self) -> Reserve:
        return Reserve(self.table, self.clock, self.tokens, self.urls, self.lifetimes, self.telemetry)

    @cached_property
    def commit(self) -> CommitUpload:
        return CommitUpload(self.table, self.bucket, self.manifests, self.clock)

    @cached_property
    def list_blocks(self) -> ListBlocks:
        return ListBlocks(self.table, self.bucket, self.manifests, self.clock, self.remove_broken)

    @cached_property
    def list_similar(self) -> ListSimilar:
        return ListSimilar(self.table)

    @cached_property
    def finalize(self) -> Finalize:
        return Finalize(
            self.table,
            self.clock,
            self.commit,
            self.claim_merge,
            self.evict,
            self.note_activity,
            self.budgets,
            self.merges_at_finalize,
            self.telemetry,
        )

    @cached_property
    def look_up(self) -> LookUp:
        return LookUp(
            self.table,
            self.bucket,
            self.clock,
            self.sources,
            self.remove_broken,
            self.note_activity,
            self.lifetimes,
            self.telemetry,
            self.executor,
        )

    @cached_property
    def check_health(self) -> CheckHealth:
        return CheckHealth(self.check_schema, self._unchecked_table, self.bucket, self.queue)
