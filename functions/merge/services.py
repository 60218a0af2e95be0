"""Wire what the merge function adds: the merge of one message."""

from functools import cached_property

from actions_cache.events import RunEnd
from actions_cache.merge import HandleMergeMessage, MergeArchive, TimeLeft
from actions_cache.ports import MergeMessage
from actions_cache.services import CoreServices


class MergeServices(CoreServices):
    """Adds the merge to the core's services."""

    @cached_property
    def handle_merge_message(self) -> HandleMergeMessage:
        def merge(message: MergeMessage, remaining: TimeLeft) -> RunEnd:
            """Merge; raise NewerSchema here rather than above, so that the message comes again after its back-off."""
            return self.merge(message, remaining)

        return HandleMergeMessage(merge, self.queue)

    @cached_property
    def merge(self) -> MergeArchive:
        return MergeArchive(
            self.table,
            self.bucket,
            self.manifests,
            self.clock,
            self.tokens,
            self.remove_broken,
            self.abort_left_uploads,
            self.lifetimes,
            max_attempts=self.settings.merge_attempts,
            concurrency=self.settings.merge_concurrency,
            telemetry=self.telemetry,
        )
