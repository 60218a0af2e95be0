"""Note the hits, misses and saves of jobs, and the jobs that were refused, and read both back."""

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, field
from functools import partial
from threading import Lock

from actions_cache.archives import READING_TIME
from actions_cache.domain.access import OWNER, OWNER_ID, REPOSITORY, REPOSITORY_ID, Caller, Rule, check_claims
from actions_cache.domain.archive import Archive
from actions_cache.domain.budgets import HOUR, Repository, Tally, hour_of
from actions_cache.domain.direct_upload import went_direct
from actions_cache.domain.errors import CacheError, TryAgain
from actions_cache.domain.key_family import MAX_PAIRS, FamilyPair, pair_of
from actions_cache.domain.refused_job import KEPT, Refusals, RefusedJob, may_write
from actions_cache.domain.search import Search
from actions_cache.domain.timing import Lifetimes, Millis
from actions_cache.ports import Clock, Repositories, Unavailable, WriteConflict

SIDE_BY_SIDE = 100
"""Number of repositories that are read between two looks at the clock. More: a deadline is overrun by more. Fewer:
threads wait for each other more often."""

PAIRS_WAIT_SECONDS = 0.5
"""Maximum time that a count waits to learn which families the hour has. Longer: a slow table delays a job more.
Shorter: more of what a new process counts is counted without its family."""

COUNTING_WAIT_SECONDS = 0.5
"""Maximum time that a job waits for its lookup or save to be counted. Lambda freezes a function after its answer, so
what is written later is written at the function's next request, or is lost. Longer: a slow table delays a job more.
Shorter: more counts come late or never."""

MAX_PAIRS_OF = 1_000
"""Repositories whose families a process remembers, some 16 MB at most. At the limit it forgets all, as each hour."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class AdmitPair:
    """Bounds how many pairs of key families are counted by themselves in each hour of a repository.

    A process reads the hour's pairs only for one that it hasn't met, and not once it knows of MAX_PAIRS. So a lookup
    costs no more writes than without families, and at most one read. Processes that meet new families at the same time
    may together exceed the limit by one pair each.
    """

    repositories: Repositories
    executor: Executor
    _hour: Millis | None = None
    _pairs: dict[str, set[FamilyPair]] = field(default_factory=dict)

    def __call__(self, repository: str, hour: Millis, pair: FamilyPair) -> bool:
        """Return whether the pair is counted by itself, and not among all others."""
        if hour != self._hour or len(self._pairs) >= MAX_PAIRS_OF:
            self._hour, self._pairs = hour, {}
        known = self._pairs.setdefault(repository, set())
        if pair in known or len(known) >= MAX_PAIRS:
            return pair in known
        # What comes too late for this count is there for the next one.
        reading = self.executor.submit(lambda: known.update(self.repositories.family_pairs(repository, hour)))
        try:
            reading.result(PAIRS_WAIT_SECONDS)
        except (Unavailable, TimeoutError):
            logger.exception("an activity is counted without its key's family")
            return False
        if len(known) < MAX_PAIRS:
            known.add(pair)
        return pair in known


@dataclass(frozen=True, slots=True)
class NoteActivity:
    """Adds up what jobs do, by repository and hour. A failure to do so is logged, and fails no job."""

    repositories: Repositories
    clock: Clock
    lifetimes: Lifetimes
    executor: Executor
    admit_pair: AdmitPair

    def hit(self, archive: Archive, search: Search, *others: Callable[[], None]) -> Callable[[], None]:
        """Begin to count a lookup that found the archive's entry.

        Args:
            archive: the archive.
            search: what the job asked for.
            others: what else is written about the hit, at the same time.

        Returns:
            What waits for it (COUNTING_WAIT_SECONDS), so that the answer can be made meanwhile.
        """
        repository, now = archive.name.family.repository, self.clock.now()
        matched_key = archive.name.key
        is_partial = not search.is_for(matched_key)
        tally = Tally(hits=1, partial_hits=int(is_partial), bytes_restored=archive.size)
        pair = pair_of(search.key, matched_key) if is_partial else pair_of(matched_key)
        # An entry lives no longer than this without another hit.
        forget_at = now + 2 * self.lifetimes.unused_entry
        add_hit = partial(self.repositories.add_hit, repository, archive.id, now, forget_at)
        writes: tuple[Callable[[], None], ...] = (add_hit, *others)
        begun = [self.executor.submit(_try, write) for write in writes]
        return partial(_wait_for, [*begun, self._tally(repository, tally, pair)])

    def miss(self, repository: str, key: str) -> None:
        _wait_for([self._tally(repository, Tally(misses=1), pair_of(key))])

    def save(self, archive: Archive) -> None:
        tally = Tally(saves=1, bytes_saved=archive.size, bytes_direct=archive.size if went_direct(archive) else 0)
        _wait_for([self._tally(archive.name.family.repository, tally, pair_of(archive.name.key))])

    def _tally(self, repository: str, tally: Tally, pair: FamilyPair) -> Future[None]:
        hour = hour_of(self.clock.now())
        counted = pair if self.admit_pair(repository, hour, pair) else None
        return self.executor.submit(_try, partial(self.repositories.add_tally, repository, hour, tally, counted))


def _try(write: Callable[[], None]) -> None:
    try:
        write()
    except Unavailable:
        logger.exception("an activity wasn't counted")


def _wait_for(begun: Sequence[Future[None]]) -> None:
    """Wait for writes, but only so long.

    Raises:
        Exception: a write failed otherwise than the table's adapter says.
    """
    done, late = wait(begun, COUNTING_WAIT_SECONDS)
    if late:
        logger.warning("an activity is counted late", extra={"writes": len(late)})
    for write in done:
        write.result()


@dataclass(slots=True)
class _Slot:
    """Holds this process's knowledge of a slot.

    Args:
        repository: issuer and id of the repository that the slot was last used for.
        written_at: time of the last write; None if there was none.
        unwritten: number of refusals since.
    """

    repository: tuple[str, str]
    written_at: Millis | None = None
    unwritten: int = 0


@dataclass(slots=True)
class NoteRefused:
    """Notes refused jobs, but writes seldom and one at a time, since they may ask as often as they like."""

    repositories: Repositories
    clock: Clock
    executor: Executor
    _slots: dict[int, _Slot] = field(default_factory=dict)
    _written_at: Millis | None = None
    _lock: Lock = field(default_factory=Lock)
    _writing: Lock = field(default_factory=Lock)

    def __call__(self, job: RefusedJob) -> None:
        """Count the refusal, and let another thread write it if it is time."""
        now = self.clock.now()
        with self._lock:
            times = self._times(job, now)
        if times:
            self.executor.submit(self._write, Refusals(job, times, now))

    def _times(self, job: RefusedJob, now: Millis) -> int:
        """Return how many refusals to write now; 0 for none."""
        repository = (job.issuer, job.repository_id)
        slot = self._slots.setdefault(job.slot, _Slot(repository))
        if slot.repository != repository:
            slot.repository, slot.unwritten = repository, 0
        slot.unwritten += 1
        if not may_write(slot.written_at, self._written_at, now) or not self._writing.acquire(blocking=False):
            return 0
        times, slot.unwritten = slot.unwritten, 0
        slot.written_at = self._written_at = now
        return times

    def _write(self, refusals: Refusals) -> None:
        try:
            self.repositories.add_refusals(refusals, refusals.last_at + KEPT)
        except WriteConflict:
            pass  # another repository has the slot; the log has this one
        except Unavailable:
            logger.exception("a refused job wasn't noted")
        finally:
            self._writing.release()


@dataclass(frozen=True, slots=True)
class ReadActivity:
    """Reads back the activity of one repository, or of all together."""

    repositories: Repositories
    clock: Clock
    executor: Executor

    def __call__(self, repository_id: str | None, hours: int) -> Mapping[Millis, Tally]:
        """Return the tallies of this hour and those before it, the earliest first, empty hours included.

        Args:
            repository_id: None for the sum of all repositories.
            hours: number of hours.

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
            for tallies in self.executor.map(lambda each_id: self.repositories.tallies(each_id, first), batch):
                for hour, tally in tallies.items():
                    sums[hour] += tally
        return {hour: sums[hour] for hour in range(first, now + 1, HOUR)}


@dataclass(frozen=True, slots=True)
class ListRefused:
    """Lists refused jobs.

    Args:
        rules: the current rules. Jobs that they admit aren't listed any more.
    """

    repositories: Repositories
    clock: Clock
    rules: Sequence[Rule]

    def __call__(self) -> Sequence[Refusals]:
        """Return the refusals of the last days by repository, the latest first."""
        since = self.clock.now() - KEPT
        recent = [refusals for refusals in self.repositories.refusals() if refusals.last_at > since]
        refused = [refusals for refusals in recent if not self._is_admitted_now(refusals.job)]
        return sorted(refused, key=lambda refusals: refusals.last_at, reverse=True)

    def _is_admitted_now(self, job: RefusedJob) -> bool:
        claims = {
            REPOSITORY_ID: job.repository_id,
            OWNER_ID: job.owner_id,
            REPOSITORY: job.repository,
            OWNER: job.owner,
        }
        try:
            check_claims(self.rules, job.issuer, claims)
        except CacheError:
            return False
        return True


def note_unnamed(repositories: Repositories, repository_id: str, now: Millis) -> None:
    """Note a repository whose name isn't known, unless it is noted already."""
    if repositories.repository(repository_id) is None:
        repositories.note(Repository(repository_id, None, now))


MAX_REMEMBERED = 10_000
"""Repositories that a process remembers as noted, some 2 MB. At the limit it forgets all, which costs another read for
each."""


@dataclass(frozen=True, slots=True)
class NoteRepository:
    """Records that a repository exists, and the name that its job's token says."""

    repositories: Repositories
    clock: Clock
    _names: dict[str, str | None] = field(default_factory=dict)
    """Names by repository id that this process knows to be recorded."""

    def __call__(self, caller: Caller) -> None:
        """Record the caller's repository. A token without a name leaves the recorded name as it is."""
        repository, name = caller.repository, caller.repository_name
        if repository in self._names and name in (None, self._names[repository]):
            return
        known = self.repositories.repository(repository)
        if known is None or name not in (None, known.name):
            self.repositories.note(Repository(repository, name, self.clock.now()))
        if len(self._names) >= MAX_REMEMBERED:
            self._names.clear()
        self._names[repository] = name or (known.name if known else None)
