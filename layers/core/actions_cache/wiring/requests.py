"""What runners ask, but for the bytes: what the API function loads."""

from functools import cached_property

from actions_cache.usecases.admit import Admit
from actions_cache.usecases.check_health import CheckHealth
from actions_cache.usecases.commit_blocks import CommitBlocks
from actions_cache.usecases.commit_pieces import CommitPieces
from actions_cache.usecases.finalize import Finalize
from actions_cache.usecases.list_blocks import ListBlocks
from actions_cache.usecases.list_similar import ListSimilar
from actions_cache.usecases.look_up import LookUp
from actions_cache.usecases.note_activity import NoteActivity
from actions_cache.usecases.note_refused import NoteRefused
from actions_cache.usecases.reserve import Reserve
from actions_cache.usecases.seal import Seal
from actions_cache.wiring.links import Links


class Requests(Links):
    @cached_property
    def admit(self) -> Admit:
        return Admit(self.repositories, self.clock, self.settings.creates_per_minute or None)

    @cached_property
    def note_activity(self) -> NoteActivity:
        return NoteActivity(self.repositories, self.clock, self.lifetimes, self.threads)

    @cached_property
    def note_refused(self) -> NoteRefused:
        return NoteRefused(self.repositories, self.clock, self.threads)

    @cached_property
    def reserve(self) -> Reserve:
        return Reserve(self.table, self.clock, self.tokens, self.urls, self.lifetimes, self.telemetry)

    @cached_property
    def commit_blocks(self) -> CommitBlocks:
        return CommitBlocks(self.table, self.bucket, self.manifests, self.clock)

    @cached_property
    def list_blocks(self) -> ListBlocks:
        return ListBlocks(self.table, self.bucket, self.manifests, self.clock, self.remove_broken)

    @cached_property
    def list_similar(self) -> ListSimilar:
        return ListSimilar(self.table)

    @cached_property
    def seal(self) -> Seal:
        return Seal(self.table, self.bucket, self.manifests, self.clock)

    @cached_property
    def commit_pieces(self) -> CommitPieces:
        return CommitPieces(self.table, self.bucket, self.manifests, self.clock, self.finalize)

    @cached_property
    def finalize(self) -> Finalize:
        return Finalize(
            self.table,
            self.bucket,
            self.manifests,
            self.clock,
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
            self.threads,
        )

    @cached_property
    def check_health(self) -> CheckHealth:
        return CheckHealth(self.check_schema, self._unchecked_table, self.bucket, self.queue)
