"""The services that the operator's commands load."""

from functools import cached_property

from actions_cache.aws.sqs import SqsDeadLetters
from actions_cache.cleanup import FindOrphans
from actions_cache.integrity import RedriveDeadLetters, Scrub
from actions_cache.management_services import ManagementServices
from actions_cache.services import CoreServices
from actions_cache.usage import ReconcileUsage, wait_for_index


class OperatorServices(CoreServices):
    """Adds management and repair to what every function has."""

    @cached_property
    def management(self) -> ManagementServices:
        return ManagementServices(self, reading_time=None)

    def called(self, repository_id: str) -> str:
        """Return the repository's name, or its id where its jobs' tokens had none."""
        if repository_id not in self._names:
            found = self.repositories.repository(repository_id)
            self._names[repository_id] = (found and found.name) or repository_id
        return self._names[repository_id]

    @cached_property
    def _names(self) -> dict[str, str]:
        return {}

    @cached_property
    def scrub(self) -> Scrub:
        return Scrub(self.table, self.bucket, self.manifests, self.clock, self.remove_entry)

    @cached_property
    def find_orphans(self) -> FindOrphans:
        return FindOrphans(self.table, self.bucket, self.clock, self.tokens, self.telemetry)

    @cached_property
    def reconcile_usage(self) -> ReconcileUsage:
        return ReconcileUsage(self.table, self.repositories, wait_for_index)

    @cached_property
    def redrive_dead_letters(self) -> RedriveDeadLetters:
        sqs = self.session.client("sqs", config=self.calls)
        dead_letters = SqsDeadLetters.behind(sqs, self.settings.merge_queue_url)
        return RedriveDeadLetters(self.table, dead_letters, self.clock, self.claim_merge)
