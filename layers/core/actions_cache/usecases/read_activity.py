"""What jobs did, by the hour."""

from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass

from actions_cache.domain.activity import HOUR, Tally, hour_of
from actions_cache.domain.errors import TryAgain
from actions_cache.domain.timing import Millis
from actions_cache.ports import Clock, Repositories
from actions_cache.usecases.reading import READING_TIME
from actions_cache.usecases.usage import SIDE_BY_SIDE


@dataclass(frozen=True, slots=True)
class ReadActivity:
    repositories: Repositories
    clock: Clock
    threads: Executor

    def __call__(self, repository_id: str | None, hours: int) -> Mapping[Millis, Tally]:
        """Return the tallies of this hour and those before it, the earliest first, empty hours included.

        Args:
            repository_id: None for all of them together.
            hours: how many.

        Raises:
            TryAgain: there are more repositories than there was time to add up.
        """
        now = hour_of(self.clock.now())
        first = now - (hours - 1) * HOUR
        ids = self.repositories.ids() if repository_id is None else [repository_id]
        sums: defaultdict[Millis, Tally] = defaultdict(Tally)
        until = self.clock.now() + READING_TIME
        for start in range(0, len(ids), SIDE_BY_SIDE):
            if self.clock.now() > until:
                raise TryAgain(
                    f"{len(ids)} repositories are more than can be added up in time; ask for one, or for fewer hours"
                )
            batch = ids[start : start + SIDE_BY_SIDE]
            for tallies in self.threads.map(lambda each: self.repositories.tallies(each, first), batch):
                for hour, tally in tallies.items():
                    sums[hour] += tally
        return {hour: sums[hour] for hour in range(first, now + 1, HOUR)}
