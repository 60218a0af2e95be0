"""Lists the jobs that were refused lately, and what TOKEN_CLAIMS lacks for each."""

from collections.abc import Sequence
from dataclasses import dataclass

from actions_cache.domain.access import Rule, check_claims
from actions_cache.domain.errors import CacheError
from actions_cache.domain.refusal import KEPT, Refusals, RefusedJob
from actions_cache.domain.token_claims import OWNER, OWNER_ID, REPOSITORY, REPOSITORY_ID
from actions_cache.ports import Clock, Repositories


@dataclass(frozen=True, slots=True)
class ListRefused:
    """Lists refused jobs.

    Args:
        rules: the present rules. Jobs that they admit aren't listed any more.
    """

    repositories: Repositories
    clock: Clock
    rules: Sequence[Rule]

    def __call__(self) -> Sequence[Refusals]:
        """Return the refused jobs, the last one first."""
        since = self.clock.now() - KEPT
        found = [it for it in self.repositories.refusals() if it.last_at > since and not self._comes_in(it.job)]
        return sorted(found, key=lambda it: it.last_at, reverse=True)

    def _comes_in(self, job: RefusedJob) -> bool:
        said = {
            REPOSITORY_ID: job.repository_id,
            OWNER_ID: job.owner_id,
            REPOSITORY: job.repository,
            OWNER: job.owner,
        }
        try:
            check_claims(self.rules, job.issuer, said)
        except CacheError:
            return False
        return True
