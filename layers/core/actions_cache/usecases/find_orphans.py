"""What arrived after the table had forgotten its archive: found by listing the bucket, twice a day (P7).

An archive's item is written before anybody gets a URL to upload to it, and forgotten only when no reader can be left
(domain/agenda.py). So what stands under an id that the table doesn't know, asked after the bucket was listed, is
nobody's and never will be anybody's.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

from actions_cache.domain.layout import ArchiveKeys
from actions_cache.domain.timing import SECOND, Millis
from actions_cache.ports import Bucket, Table, TokenSource

BATCH = 100
"""BatchGetItem takes so many keys."""

DEADLINE_MARGIN: Millis = 15 * SECOND


@dataclass(frozen=True, slots=True)
class FindOrphans:
    table: Table
    bucket: Bucket
    tokens: TokenSource

    def __call__(self, remaining: Callable[[], Millis]) -> Counter[str]:
        """Deletes what no archive of the table owns.

        Ids are random, and so is the one it begins with: a bucket too large for one run is seen whole over several.

        Returns: how many archives it saw, and of how many that nobody knows it deleted the objects.
        """
        done: Counter[str] = Counter()
        for ids in _batches(self._ids()):
            if remaining() < DEADLINE_MARGIN:
                done["left for another run"] += 1
                break
            unknown = set(ids) - self.table.known_archives(ids)
            for archive_id in sorted(unknown):
                self.bucket.delete([part.key for part in self.bucket.list(ArchiveKeys(archive_id).prefix)])
            done["archives seen"] += len(ids)
            done["orphaned archives deleted"] += len(unknown)
        return done

    def _ids(self) -> Iterator[str]:
        """All of them, from a random one on, round to it."""
        first = self.tokens.new()
        before = (archive_id for archive_id in self.bucket.archive_ids("") if archive_id <= first)
        return chain(self.bucket.archive_ids(first), before)


def _batches(ids: Iterable[str]) -> Iterator[list[str]]:
    source = iter(ids)
    while batch := list(islice(source, BATCH)):
        yield batch
