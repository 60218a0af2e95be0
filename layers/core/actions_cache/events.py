"""What is told of the work: each a line of the log, with the metrics it counts for (docs/metrics.md lists them).

One id leads from a save to its end: every line about an archive has `archive_id`, and `repository` where it is known.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from actions_cache.cost import CostPart, Estimate
from actions_cache.domain.archive import Archive, Part, Walk
from actions_cache.domain.budgets import Tally, Usage
from actions_cache.domain.cleanup_schedule import CleanupTask
from actions_cache.domain.entry import Entry, EntryName
from actions_cache.domain.errors import CacheError
from actions_cache.domain.object_keys import is_part_key
from actions_cache.domain.refused_job import NotAdmitted
from actions_cache.domain.timing import Millis


@dataclass(frozen=True, slots=True)
class Metric:
    """Each costs by the name and the value of its dimension, so that none may have many values: never a repository."""

    name: str
    dimension: str | None = None
    """The field of the line that tells its values apart."""

    @property
    def values(self) -> frozenset[str]:
        """Return all values that the dimension may have. No request can add one."""
        return VALUES[self.dimension] if self.dimension else frozenset()

    def value(self, named: object) -> str:
        """Return the dimension's value as it is sent: one of `values`, or OTHER."""
        return str(named) if str(named) in self.values else OTHER


HITS = Metric("Hits")
MISSES = Metric("Misses", "reason")
BYTES_UP = Metric("BytesUp")
BYTES_DOWN = Metric("BytesDown")
TIME_TO_FIRST_BYTE = Metric("TimeToFirstByte")
MERGES = Metric("Merges", "outcome")
MERGE_DURATION = Metric("MergeDuration")
CLEANUP = Metric("Cleanup", "task")
BYTES_DISCARDED = Metric("BytesDiscarded")
EVICTIONS = Metric("Evictions")
ORPHAN_LISTING_FAILURES = Metric("OrphanListingFailures")
ERRORS = Metric("Errors", "kind")
STORED_BYTES = Metric("StoredBytes")
STORED_ENTRIES = Metric("StoredEntries")
MONTH_COST = Metric("MonthCost", "part")

METRICS = (
    HITS,
    MISSES,
    BYTES_UP,
    BYTES_DOWN,
    TIME_TO_FIRST_BYTE,
    MERGES,
    MERGE_DURATION,
    CLEANUP,
    BYTES_DISCARDED,
    EVICTIONS,
    ORPHAN_LISTING_FAILURES,
    ERRORS,
    STORED_BYTES,
    STORED_ENTRIES,
    MONTH_COST,
)


class MissReason(StrEnum):
    NO_MATCH = "no match"
    BROKEN = "broken"
    """Something matched, but its object was gone or changed, so its entry was removed."""


class Loss(StrEnum):
    """Names what became of an object that an entry needs."""

    GONE = "is gone"
    CHANGED = "was changed"
    """Another object has its key: its ETag isn't the pinned one."""
    UNREADABLE = "can't be read"
    """It is there as it was pinned, but isn't what it has to be."""


class RunEnd(StrEnum):
    """How a run of a merge ended, or what became of its claim."""

    MERGED = "merged"
    NOT_OURS = "not ours"
    LOST = "lost"
    BROKEN = "broken"
    FAILED = "failed"
    GIVEN_UP = "given up"
    RETAKEN = "retaken"


class OtherCleanup(StrEnum):
    """Names cleanup's work beside the agenda's duties."""

    CLOSE_UPLOAD = "close the upload"
    DELETE_ORPHANS = "delete orphans"
    FAILED = "failed"


class Failure(StrEnum):
    """Names what failed, where a CacheError would be a refusal."""

    UNAVAILABLE = "Unavailable"
    UNEXPECTED = "Unexpected"
    STREAM_BROKEN = "StreamBroken"


def _names(kind: type[CacheError]) -> Iterator[str]:
    yield kind.__name__
    for narrower in kind.__subclasses__():
        yield from _names(narrower)


VALUES: Mapping[str, frozenset[str]] = {
    "reason": frozenset(MissReason),
    "outcome": frozenset(RunEnd),
    "task": frozenset((*CleanupTask, *OtherCleanup)),
    "kind": frozenset((*_names(CacheError), *Failure)),
    "part": frozenset(CostPart),
}
"""Values of each dimension."""

OTHER = "other"

MAX_ERROR_CHARACTERS = 500
"""Characters of a message in a line: our own are shorter, but some quote what a client sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    name: str
    fields: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[Metric, float] = field(default_factory=dict)
    """Those of one line share their dimension."""
    is_error: bool = False
    """People should look at it."""
    error: BaseException | None = None
    """Told with where it came from."""


def about(archive: Archive) -> dict[str, object]:
    """The fields by which lines are found."""
    return {"archive_id": archive.id, "repository": archive.name.family.repository}


def _named(name: EntryName) -> dict[str, object]:
    return {"repository": name.family.repository, "scope": name.family.scope, "key": name.key}


# ---------------------------------------------------------------- saved and found


def reserved(archive: Archive) -> Event:
    return Event(name="reserved", fields={**about(archive), **_named(archive.name)})


def saved(archive: Archive) -> Event:
    parts = archive.commit.part_count if archive.commit else 0
    fields = {**about(archive), **_named(archive.name), "parts": parts}
    return Event(name="saved", fields=fields, metrics={BYTES_UP: archive.size})


def hit(entry: Entry, requested_key: str, *, is_merged: bool) -> Event:
    """Args: requested_key: the key that the job named, which the entry's may only begin with."""
    fields = {**_named(entry.name), "archive_id": entry.archive_id, "requested_key": requested_key, "merged": is_merged}
    return Event(name="hit", fields=fields, metrics={HITS: 1, BYTES_DOWN: entry.size})


def missed(repository: str, scopes: tuple[str, ...], requested_key: str, reason: MissReason) -> Event:
    fields = {"repository": repository, "scopes": scopes, "requested_key": requested_key, "reason": reason}
    return Event(name="miss", fields=fields, metrics={MISSES: 1})


def first_byte(archive: Archive, took: Millis) -> Event:
    return Event(name="first byte", fields=about(archive), metrics={TIME_TO_FIRST_BYTE: took})


def entry_removed(archive: Archive) -> Event:
    return Event(name="entry removed", fields={**about(archive), **_named(archive.name)})


def entry_broken(archive: Archive, lost: Part, loss: Loss) -> Event:
    """Return the event of a removed entry.

    Args:
        archive: the entry's.
        lost: the part, manifest or merged object that identifies it by its key.
        loss: what became of that object.
    """
    fields = {**about(archive), "object": lost.key}
    return Event(name=f"the entry's object {loss}, so the entry was removed", fields=fields, is_error=True)


def entries_deleted(repository: str, by: str, archives: Sequence[Archive]) -> Event:
    """In one line, where it is found again: who deleted what."""
    ids, size = [it.id for it in archives], sum(it.size for it in archives)
    return Event(name="entries deleted", fields={"repository": repository, "by": by, "archive_ids": ids, "bytes": size})


def evicted(archive: Archive) -> Event:
    fields = {**about(archive), **_named(archive.name), "bytes": archive.size, "last_used_at": archive.last_used_at}
    return Event(name="entry evicted: over budget", fields=fields, metrics={EVICTIONS: 1})


def over_budget(saved: Archive, error: Exception) -> Event:
    """After a save that found no room."""
    return Event(name="over budget; the schedule evicts", fields=about(saved), is_error=True, error=error)


# ---------------------------------------------------------------- merged


def merge_claimed(archive: Archive, *, is_retaken: bool) -> Event:
    """Args: is_retaken: from a claim before, that died."""
    if not is_retaken:
        return Event(name="merge claimed", fields=about(archive))
    fields = {**about(archive), "outcome": RunEnd.RETAKEN}
    return Event(name="merge retaken", fields=fields, metrics={MERGES: 1})


def merge_unclaimed(archive: Archive, error: Exception) -> Event:
    fields = about(archive)
    return Event(name="merge not claimed; the schedule will", fields=fields, is_error=True, error=error)


def merge_started(archive: Archive) -> Event:
    return Event(name="merge started", fields={**about(archive), "run_token": archive.merge.run_token})


def merged(archive: Archive, took: Millis) -> Event:
    fields = {**about(archive), "bytes": archive.size, "took_ms": took, "outcome": RunEnd.MERGED}
    return Event(name="merged", fields=fields, metrics={MERGES: 1, MERGE_DURATION: took})


def merge_ended(fields: Mapping[str, object], end: RunEnd, error: BaseException | None = None) -> Event:
    """Any other end. Args: fields: `about` the archive, or what of it is known."""
    is_error = end in (RunEnd.BROKEN, RunEnd.FAILED, RunEnd.GIVEN_UP)
    name = f"merge {end}"
    return Event(name=name, fields={**fields, "outcome": end}, metrics={MERGES: 1}, is_error=is_error, error=error)


# ---------------------------------------------------------------- cleaned up


def task_done(archive: Archive, task: CleanupTask) -> Event:
    return Event(name=task, fields={**about(archive), "task": task}, metrics={CLEANUP: 1})


def task_failed(archive_id: str, error: Exception) -> Event:
    fields = {"archive_id": archive_id, "task": OtherCleanup.FAILED}
    name = "cleanup failed on an archive"
    return Event(name=name, fields=fields, metrics={CLEANUP: 1}, is_error=True, error=error)


def upload_closed(archive: Archive, walk: Walk) -> Event:
    """Return the event of an upload that was closed.

    Args:
        archive: the upload's.
        walk: pass over the arrivals; there may be more.
    """
    fields = {**about(archive), **_named(archive.name), "objects": walk.objects, "bytes": walk.bytes}
    return Event(
        name="open upload closed: too much arrived",
        fields={**fields, "task": OtherCleanup.CLOSE_UPLOAD},
        metrics={CLEANUP: 1},
        is_error=True,
    )


def bytes_discarded(fields: Mapping[str, object], size: int) -> Event:
    """Return the event of parts that arrived and never belonged to an entry.

    Args:
        fields: `about` the archive, or what is known of it.
        size: bytes of the parts.
    """
    return Event(name="bytes discarded that no entry had", fields=fields, metrics={BYTES_DISCARDED: size})


def orphans_deleted(archive_id: str, page: Sequence[Part]) -> Iterator[Event]:
    """Yield the events of a page of orphans."""
    fields = {"archive_id": archive_id, "objects": len(page)}
    yield Event(
        name="orphaned objects deleted", fields={**fields, "task": OtherCleanup.DELETE_ORPHANS}, metrics={CLEANUP: 1}
    )
    yield bytes_discarded(fields, sum(part.size for part in page if is_part_key(part.key)))


def orphans_remain(error: Exception, archive_id: str | None = None) -> Event:
    """Args: archive_id: of whose objects they are; None where the listing itself failed."""
    return Event(
        name="orphaned objects stay",
        fields={"archive_id": archive_id} if archive_id else {},
        metrics={ORPHAN_LISTING_FAILURES: 1},
        is_error=True,
        error=error,
    )


# ---------------------------------------------------------------- stored, and what it costs


def cost_estimated(usage: Usage, done: Tally, hours: int, month: Estimate) -> Iterator[Event]:
    """What is stored, then each part of the month's cost: a line holds one value of a dimension.

    Args: done: in these hours, that the month is taken to go on like.
    """
    fields = {**asdict(done), "hours": hours, "month_usd": month.total, "transfer_out_usd": month.transfer_out}
    metrics = {STORED_BYTES: usage.bytes, STORED_ENTRIES: usage.entries}
    yield Event(name="what is stored", fields=fields, metrics=metrics)
    for part, usd in month.by_part.items():
        yield _month_cost(part, usd)


def _month_cost(part: CostPart, usd: float) -> Event:
    return Event(name="what the month costs", fields={"part": part}, metrics={MONTH_COST: usd})


# ---------------------------------------------------------------- refused and failed


def refused(request: str, error: CacheError) -> Event:
    """What the client was told. Args: request: method and path, no query: URLs carry signatures."""
    fields: dict[str, object] = {"request": request, "kind": type(error).__name__, "error": _said(error)}
    if isinstance(error, NotAdmitted):
        job = error.job
        fields |= {"repository": job.repository_id, "repository_name": job.repository, "issuer": job.issuer}
        fields |= {"owner": job.owner, "owner_id": job.owner_id, "to_admit": job.to_admit}
    return Event(name="refused", fields=fields, metrics={ERRORS: 1})


def unavailable(request: str, error: Exception) -> Event:
    fields = {"request": request, "kind": Failure.UNAVAILABLE, "error": _said(error)}
    return Event(name="a dependency doesn't answer", fields=fields, metrics={ERRORS: 1}, is_error=True)


def failed(request: str, error: Exception) -> Event:
    fields = {"request": request, "kind": Failure.UNEXPECTED}
    return Event(name="unexpected error", fields=fields, metrics={ERRORS: 1}, is_error=True, error=error)


def stream_broken(sent: int, size: int, error: BaseException) -> Event:
    """A stream that can't end with the right bytes ends with a broken connection. Args: sent, size: bytes."""
    said = f"{type(error).__name__}: {_said(error)}"
    fields = {"kind": Failure.STREAM_BROKEN, "sent": sent, "bytes": size, "error": said}
    return Event(name="stream broken off", fields=fields, metrics={ERRORS: 1}, is_error=True)


def _said(error: BaseException) -> str:
    return str(error)[:MAX_ERROR_CHARACTERS]


def client_gone(request: str) -> Event:
    """No error of anybody's: jobs are cancelled, and clients that read in parallel drop what they don't need."""
    return Event(name="the client went away", fields={"request": request})
