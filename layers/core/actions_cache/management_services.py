"""Wire the flows of the people who manage a server; only the management function and the command line load them."""

from dataclasses import dataclass
from functools import cached_property

from actions_cache.activity import ListRefused, ReadActivity
from actions_cache.archives import READING_TIME
from actions_cache.aws.secrets import SecretsManagerTokens
from actions_cache.aws.sqs import SqsDeadLetters
from actions_cache.domain.timing import Millis
from actions_cache.explain import MatchKeys
from actions_cache.families import ReadFamilies
from actions_cache.manage import DeleteEntries, FindRepository, ListEntries, ListFailures
from actions_cache.services import CoreServices
from actions_cache.usage import EstimateCost, ReadUsage


@dataclass
class ManagementServices:
    """Creates each flow when it is first used.

    Args:
        reading_time: time that reading may take; None if no client gives up on the answer.
    """

    core: CoreServices
    reading_time: Millis | None = READING_TIME

    @cached_property
    def secret(self) -> SecretsManagerTokens:
        """Return the secret with the management tokens.

        Raises:
            ValueError: ADMIN_SECRET_ARN is missing, which the template sets for the management function.
        """
        arn = self.core.settings.admin_secret_arn
        if arn is None:
            raise ValueError("ADMIN_SECRET_ARN is missing: it names the secret with the tokens of those who manage")
        client = self.core.session.client("secretsmanager", config=self.core.calls)
        return SecretsManagerTokens(client, arn)

    @cached_property
    def dead_letters(self) -> SqsDeadLetters:
        """Return the merges' dead-letter queue.

        Raises:
            ValueError: MERGE_DEAD_LETTER_QUEUE_URL is missing, which the template sets too.
        """
        url = self.core.settings.merge_dead_letter_queue_url
        if url is None:
            raise ValueError("MERGE_DEAD_LETTER_QUEUE_URL is missing: it names the queue of what failed for good")
        return SqsDeadLetters(self.core.session.client("sqs", config=self.core.calls), url)

    @cached_property
    def find_repository(self) -> FindRepository:
        return FindRepository(self.core.repositories)

    @cached_property
    def list_entries(self) -> ListEntries:
        core = self.core
        return ListEntries(core.table, core.repositories, core.executor, core.lifetimes, core.clock, self.reading_time)

    @cached_property
    def delete_entries(self) -> DeleteEntries:
        core = self.core
        return DeleteEntries(core.table, core.remove_entry, core.lifetimes, core.clock, self.reading_time)

    @cached_property
    def match(self) -> MatchKeys:
        return MatchKeys(self.core.table, self.core.clock, self.reading_time)

    @cached_property
    def read_usage(self) -> ReadUsage:
        core = self.core
        return ReadUsage(core.table, core.repositories, core.budgets, core.executor, core.clock, self.reading_time)

    @cached_property
    def read_activity(self) -> ReadActivity:
        return ReadActivity(self.core.repositories, self.core.clock, self.core.executor)

    @cached_property
    def read_families(self) -> ReadFamilies:
        core = self.core
        return ReadFamilies(core.table, core.repositories, core.clock, self.reading_time)

    @cached_property
    def estimate_cost(self) -> EstimateCost:
        return EstimateCost(self.core.repositories, self.read_activity)

    @cached_property
    def list_failures(self) -> ListFailures:
        return ListFailures(self.core.table, self.dead_letters)

    @cached_property
    def list_refused(self) -> ListRefused:
        core = self.core
        return ListRefused(core.repositories, core.clock, core.settings.token_claims)
