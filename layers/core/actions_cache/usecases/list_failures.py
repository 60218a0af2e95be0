"""What failed for good, and what nobody has looked at yet."""

from dataclasses import dataclass
from itertools import islice

from actions_cache.domain.archive import Archive, MergeState
from actions_cache.ports import DeadLetters, Table

MOST = 100


@dataclass(frozen=True, slots=True)
class Failures:
    archives: tuple[Archive, ...]
    """Whose merge failed, the latest first: they restore from their parts."""
    dead_letters: int
    """Messages of failed merges, and those that were no messages of ours; about so many, as SQS counts."""


@dataclass(frozen=True, slots=True)
class ListFailures:
    table: Table
    dead_letters: DeadLetters

    def __call__(self) -> Failures:
        """At most MOST archives. The index may lag, so each is read again."""
        read = map(self.table.archive, islice(self.table.failed_archives(), MOST))
        failed = [it for it in read if it is not None and it.is_stored and it.merge.state is MergeState.FAILED]
        failed.sort(key=lambda it: it.merge.ended_at, reverse=True)
        return Failures(tuple(failed), self.dead_letters.count())
