"""Wire what the API function adds: everything that runners request, except for streams of whole archives."""

from collections.abc import Callable, Mapping
from functools import cached_property, partial

from actions_cache.activity import AdmitPair, NoteActivity, NoteRefused, NoteRepository
from actions_cache.direct import CompleteDirect, OfferDirect
from actions_cache.download_services import DownloadServices
from actions_cache.lookup import ListSimilar, LookUp
from actions_cache.ports import Unavailable
from actions_cache.save import (
    CommitUpload,
    CreateRateLimit,
    Finalize,
    ListBlocks,
    ReceivePart,
    Reserve,
)
from actions_cache.services import CoreServices


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
        admit_pair = AdmitPair(self.repositories, self.executor)
        return NoteActivity(self.repositories, self.clock, self.lifetimes, self.executor, admit_pair)

    @cached_property
    def note_refused(self) -> NoteRefused:
        return NoteRefused(self.repositories, self.clock, self.executor)

    @cached_property
    def reserve(self) -> Reserve:
        offer_direct = OfferDirect(self.bucket, self.clock, self.tokens, self.lifetimes, self.telemetry)
        return Reserve(self.table, self.clock, self.tokens, self.urls, self.lifetimes, self.telemetry, offer_direct)

    @cached_property
    def commit(self) -> CommitUpload:
        complete_direct = CompleteDirect(self.table, self.bucket)
        return CommitUpload(self.table, self.bucket, self.manifests, self.clock, complete_direct)

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
    def check_health(self) -> Callable[[], Mapping[str, str]]:
        """Return a check that may block and returns what is wrong, by component; nothing when all is well."""
        return partial(
            _find_faults,
            {
                "schema": self.check_schema,
                "table": self._unchecked_table.check,
                "bucket": self.bucket.check,
                "queue": self.queue.check,
            },
        )


def _find_faults(checks: Mapping[str, Callable[[], None]]) -> Mapping[str, str]:
    faults: dict[str, str] = {}
    for component, check in checks.items():
        try:
            check()
        except Unavailable as error:
            faults[component] = str(error)
    return faults
