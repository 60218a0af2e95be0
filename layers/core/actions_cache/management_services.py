"""What people ask, and what they delete: what the management function alone loads."""

from dataclasses import dataclass
from functools import cached_property

from actions_cache.activity import ListRefused, ReadActivity
from actions_cache.archives import READING_TIME
from actions_cache.aws.secrets import SecretsManagerTokens
from actions_cache.aws.sqs import SqsDeadLetters
from actions_cache.domain.timing import Millis
from actions_cache.explain import MatchKeys
from actions_cache.manage import DeleteEntries, FindRepository, ListEntries, ListFailures
from actions_cache.services import CoreServices
from actions_cache.usage import EstimateCost, ReadUsage


@dataclass
class ManagementServices:
    control: CoreServices
    reading_time: Millis | None = READING_TIME
    """Time that reading may take; None where no client gives up on the answer."""

    @cached_property
    def secret(self) -> SecretsManagerTokens:
        """Raises ValueError without ADMIN_SECRET_ARN, which the template sets for the function that manages."""
        arn = self.control.settings.admin_secret_arn
        if arn is None:
            raise ValueError("ADMIN_SECRET_ARN is missing: it names the secret with the tokens of those who manage")
        client = self.control.session.client("secretsmanager", config=self.control.calls)
        return SecretsManagerTokens(client, arn)

    @cached_property
    def dead_letters(self) -> SqsDeadLetters:
        """Raises ValueError without MERGE_DEAD_LETTER_QUEUE_URL, which the template sets as the other."""
        url = self.control.settings.merge_dead_letter_queue_url
        if url is None:
            raise ValueError("MERGE_DEAD_LETTER_QUEUE_URL is missing: it names the queue of what failed for good")
        return SqsDeadLetters(self.control.session.client("sqs", config=self.control.calls), url)

    @cached_property
    def find_repository(self) -> FindRepository:
        return FindRepository(self.control.repositories)

    @cached_property
    def list_entries(self) -> ListEntries:
        control = self.control
        return ListEntries(control.table, control.repositories, control.threads, control.clock, self.reading_time)

    @cached_property
    def delete_entries(self) -> DeleteEntries:
        control = self.control
        return DeleteEntries(control.table, control.remove_entry, control.lifetimes, control.clock, self.reading_time)

    @cached_property
    def match(self) -> MatchKeys:
        return MatchKeys(self.control.table, self.control.clock, self.reading_time)

    @cached_property
    def read_usage(self) -> ReadUsage:
        control = self.control
        return ReadUsage(
            control.table, control.repositories, control.budgets, control.threads, control.clock, self.reading_time
        )

    @cached_property
    def read_activity(self) -> ReadActivity:
        return ReadActivity(self.control.repositories, self.control.clock, self.control.threads)

    @cached_property
    def estimate_cost(self) -> EstimateCost:
        return EstimateCost(self.control.repositories, self.read_activity)

    @cached_property
    def list_failures(self) -> ListFailures:
        return ListFailures(self.control.table, self.dead_letters)

    @cached_property
    def list_refused(self) -> ListRefused:
        control = self.control
        return ListRefused(control.repositories, control.clock, control.settings.token_claims)
