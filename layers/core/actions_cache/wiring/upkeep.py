"""What the schedules do: what the cleanup function loads."""

import time
from functools import cached_property

from actions_cache.usecases.clean_up import CleanUp
from actions_cache.usecases.find_orphans import FindOrphans
from actions_cache.usecases.migrate import Migrate
from actions_cache.usecases.reconcile_usage import ReconcileUsage
from actions_cache.usecases.tell_cost import TellCost
from actions_cache.wiring.insight import Insight

INDEX_LAG_SECONDS = 2
"""Global indexes follow their table within a second or so."""


class Upkeep(Insight):
    @cached_property
    def reconcile_usage(self) -> ReconcileUsage:
        return ReconcileUsage(self.table, self.repositories, lambda: time.sleep(INDEX_LAG_SECONDS))

    @cached_property
    def clean_up(self) -> CleanUp:
        return CleanUp(
            self.table,
            self.bucket,
            self.manifests,
            self.clock,
            self.claim_merge,
            self.remove_entry,
            self.remove_broken,
            self.lifetimes,
            max_attempts=self.settings.merge_attempts,
            merges_at_finalize=self.merges_at_finalize,
            open_upload_bytes=self.settings.open_upload_bytes,
            telemetry=self.telemetry,
        )

    @cached_property
    def find_orphans(self) -> FindOrphans:
        return FindOrphans(self.table, self.bucket, self.tokens, self.telemetry)

    @cached_property
    def tell_cost(self) -> TellCost:
        return TellCost(self.estimate_cost, self.telemetry)

    @cached_property
    def migrate(self) -> Migrate:
        return Migrate(self.table, self.repositories, self.clock, self.schema)
