"""What arrived after the table had forgotten its archive: found by listing the bucket, twice a day.

The bucket is listed first and the table asked after. Then an id that the table doesn't know can only be a forgotten
archive's, and no reader's:

- An archive's item is written before anybody gets a URL to upload to it (usecases/reserve.py), and ids are random:
  one that objects stand under was known once, and is never given out again.
- The item stays as the tombstone of a deleted archive until its readers' grace is over and its last sweep done
  (domain/agenda.py). A PUT in flight beyond that can still end, but what it brings was never committed.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, takewhile

from actions_cache.domain import happenings
from actions_cache.domain.archive import Part
from actions_cache.domain.layout import ArchiveKeys
from actions_cache.domain.timing import SECOND, Millis
from actions_cache.ports import Bucket, Table, Telemetry, TokenSource, Unavailable
from actions_cache.usecases import arrivals
from actions_cache.usecases.arrivals import pages

BATCH = 100
"""BatchGetItem takes so many keys."""

DEADLINE_MARGIN: Millis = 15 * SECOND
"""Time of one page on a bad day of S3's."""

SLICE: Millis = 10 * SECOND
"""Time of one archive before the next one's turn; the rest of it follows once all had theirs."""


@dataclass(frozen=True, slots=True)
class FindOrphans:
    table: Table
    bucket: Bucket
    tokens: TokenSource
    telemetry: Telemetry

    def __call__(self, remaining: Callable[[], Millis]) -> Counter[str]:
        """Deletes what no archive of the table owns.

        Ids are random, and so is the one it begins with: a bucket too large for one run is seen whole over several.

        Returns: how many archives it saw, of how many that nobody knows it deleted the objects, and on how many it
            failed.

        Raises: Unavailable: the listing ended halfway.
        """
        try:
            return self._find(remaining)
        except Exception as fault:
            self.telemetry.tell(happenings.orphans_stay(fault))
            raise

    def _find(self, remaining: Callable[[], Millis]) -> Counter[str]:
        done: Counter[str] = Counter()
        unfinished: deque[tuple[str, bool]] = deque()
        for archive_id, is_known in chain(self.archives(), _taken_from(unfinished)):
            if remaining() < DEADLINE_MARGIN:
                done["left for another run"] += 1
                break
            done["archives seen"] += 1
            try:
                deletes = not is_known and self._delete_in(remaining, archive_id, unfinished)
                done["orphaned archives deleted"] += deletes
            except Unavailable as fault:
                self.telemetry.tell(happenings.orphans_stay(fault, archive_id))
                done["failed"] += 1
        return done

    def _delete_in(self, remaining: Callable[[], Millis], archive_id: str, unfinished: deque[tuple[str, bool]]) -> bool:
        """Delete page by page within the archive's slice. Return whether there was anything, and none is left."""
        until = max(remaining() - SLICE, DEADLINE_MARGIN)
        there_was_any = False
        for page in self.objects(archive_id):
            there_was_any |= self.delete(archive_id, page)
            if len(page) == arrivals.PAGE and remaining() < until:
                unfinished.append((archive_id, False))
                return False
        return there_was_any

    def archives(self) -> Iterator[tuple[str, bool]]:
        """Each id that objects stand under, and whether the table knows it.

        The bucket is asked first, so that what the table doesn't know then is an orphan for good.
        """
        for ids in _batches(self._ids()):
            known = self.table.known_archives(ids)
            yield from ((archive_id, archive_id in known) for archive_id in ids)

    def _ids(self) -> Iterator[str]:
        """All of them, from a random one on, round to it."""
        first = self.tokens.new()
        before = takewhile(lambda archive_id: archive_id <= first, self.bucket.archive_ids(""))
        return chain(self.bucket.archive_ids(first), before)

    def objects(self, archive_id: str) -> Iterator[list[Part]]:
        """Yield pages of objects. There may be none: SeaweedFS goes on listing empty folders."""
        return pages(self.bucket, ArchiveKeys(archive_id).prefix)

    def delete(self, archive_id: str, page: Sequence[Part]) -> bool:
        """Delete a page, and return whether there was anything."""
        self.bucket.delete([part.key for part in page])
        for happening in happenings.orphans_deleted(archive_id, page) if page else ():
            self.telemetry.tell(happening)
        return bool(page)


def _taken_from(waiting: deque[tuple[str, bool]]) -> Iterator[tuple[str, bool]]:
    while waiting:
        yield waiting.popleft()


def _batches(ids: Iterable[str]) -> Iterator[list[str]]:
    source = iter(ids)
    while batch := list(islice(source, BATCH)):
        yield batch
