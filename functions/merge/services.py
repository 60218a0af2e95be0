"""What the merge function loads."""

from functools import cached_property

from actions_cache.merge import MergeArchive
from actions_cache.services import CoreServices


class MergeServices(CoreServices):
    @cached_property
    def merge(self) -> MergeArchive:
        return MergeArchive(
            self.table,
            self.bucket,
            self.manifests,
            self.clock,
            self.tokens,
            self.remove_broken,
            self.lifetimes,
            max_attempts=self.settings.merge_attempts,
            concurrency=self.settings.merge_concurrency,
            telemetry=self.telemetry,
        )
