"""Wire what the cleanup function adds: the schedules' work."""

from concurrent.futures import Executor
from functools import cached_property

from actions_cache.activity import ReadActivity
from actions_cache.cleanup import CleanUp, FindOrphans, Reconcile, RunCleanup
from actions_cache.cleanup_batch import CleanUpBatch
from actions_cache.schema import Migrate
from actions_cache.services import CoreServices
from actions_cache.usage import EstimateCost, NoteUsages, PublishCost, ReadUsage, ReconcileUsage, wait_for_index


class CleanupServices(CoreServices):
    """Adds the schedules' work to the core's services."""

    @cached_property
    def run_cleanup(self) -> RunCleanup:
        return RunCleanup(self.clean_up, self.evict.everywhere, self.note_usages, self.migrate)

    @cached_property
    def reconcile(self) -> Reconcile:
        return Reconcile(self.repositories, self.reconcile_usage, self.publish_cost, self.find_orphans)

    @cached_property
    def cleanup_executor(self) -> Executor:
        """Return what makes cleanup's calls side by side. Tests on moto replace it."""
        return self.executor

    @cached_property
    def clean_up(self) -> CleanUp:
        return CleanUp(
            self.clean_up_batch,
            self.table,
            self.bucket,
            self.manifests,
            self.clock,
            self.cleanup_executor,
            self.claim_merge,
            self.remove_entry,
            self.remove_broken,
            self.abort_left_uploads,
            self.lifetimes,
            max_attempts=self.settings.merge_attempts,
            merges_at_finalize=self.merges_at_finalize,
            open_upload_bytes=self.settings.open_upload_bytes,
            telemetry=self.telemetry,
        )

    @cached_property
    def clean_up_batch(self) -> CleanUpBatch:
        return CleanUpBatch(
            self.table,
            self.bucket,
            self.manifests,
            self.abort_left_uploads,
            self.clock,
            self.cleanup_executor,
            self.lifetimes,
            merges_at_finalize=self.merges_at_finalize,
            telemetry=self.telemetry,
        )

    @cached_property
    def find_orphans(self) -> FindOrphans:
        return FindOrphans(self.table, self.bucket, self.clock, self.tokens, self.telemetry)

    @cached_property
    def reconcile_usage(self) -> ReconcileUsage:
        return ReconcileUsage(self.table, self.repositories, wait_for_index)

    @cached_property
    def note_usages(self) -> NoteUsages:
        read_usage = ReadUsage(self.table, self.repositories, self.budgets, self.executor, self.clock, None)
        return NoteUsages(self.repositories, read_usage, self.cleanup_executor, self.clock)

    @cached_property
    def publish_cost(self) -> PublishCost:
        activity = ReadActivity(self.repositories, self.clock, self.executor)
        return PublishCost(EstimateCost(self.repositories, activity), self.telemetry)

    @cached_property
    def migrate(self) -> Migrate:
        return Migrate(self.table, self.repositories, self.clock, self.schema)
